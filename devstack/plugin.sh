#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# DevStack sources this file as `plugin.sh MODE [PHASE]`, with its own functions and
# variables, such as iniset and NOVA_CONF.

function install_stable_rescue {
    setup_develop "$STABLE_RESCUE_DIR"
}

function configure_stable_rescue_compute {
    # DevStack copies nova.conf to the configuration of nova-compute when it starts it.
    iniset "$NOVA_CONF" DEFAULT compute_driver stable_rescue.StableRescueDriver
    iniset "$NOVA_CONF" stable_rescue default_mode "$STABLE_RESCUE_DEFAULT_MODE"
}

function load_stable_rescue_metadefs {
    "$GLANCE_BIN_DIR/glance-manage" --config-file "$GLANCE_CONF_DIR/glance-api.conf" \
        db_load_metadefs "$STABLE_RESCUE_DIR/etc/stable_rescue/metadefs"
}

function configure_stable_rescue_tempest {
    iniset "$TEMPEST_CONFIG" compute-feature-enabled rescue True
    iniset "$TEMPEST_CONFIG" compute-feature-enabled stable_rescue True
    iniset "$TEMPEST_CONFIG" stable_rescue legacy \
        "$([[ $STABLE_RESCUE_DEFAULT_MODE == legacy ]] && echo True || echo False)"
}

function remove_stable_rescue {
    inidelete "$NOVA_CONF" DEFAULT compute_driver
    inidelete "$NOVA_CONF" stable_rescue default_mode
}

case "$1 ${2:-}" in
    "stack install")
        if is_service_enabled n-cpu; then
            echo_summary "Installing stable_rescue"
            install_stable_rescue
        fi
        ;;
    "stack post-config")
        if is_service_enabled n-cpu; then
            echo_summary "Configuring stable_rescue"
            configure_stable_rescue_compute
        fi
        if is_service_enabled g-api; then
            load_stable_rescue_metadefs
        fi
        ;;
    "stack test-config")
        if is_service_enabled tempest; then
            configure_stable_rescue_tempest
        fi
        ;;
    "clean ")
        remove_stable_rescue
        ;;
esac
