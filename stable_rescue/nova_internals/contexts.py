# SPDX-License-Identifier: Apache-2.0
"""A context for requests to other services that no user has made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystoneauth1 import loading
from nova import conf as nova_conf

if TYPE_CHECKING:
    from nova import context as nova_context

CONF = nova_conf.CONF


def service_user_context() -> nova_context.RequestContext | None:
    """Return an administrator's context that authenticates as Nova's service user.

    nova.context.get_admin_context has no token, and unlike [cinder] and [neutron],
    [glance] has no credentials to use instead. Nova 33 has such a context for the key
    manager (nova.context.get_nova_service_user_context); older releases have the means.

    :returns: None if [service_user] has no credentials
    :raises keystoneauth1.exceptions.ClientException: if they are incomplete
    """
    from nova import context as nova_context

    group = nova_conf.service_token.SERVICE_USER_GROUP
    auth = loading.load_auth_from_conf_options(CONF, group)
    if auth is None:
        return None
    return nova_context.RequestContext(
        user_id=None,
        project_id=None,
        is_admin=True,
        user_auth_plugin=auth,
        overwrite=False,
    )
