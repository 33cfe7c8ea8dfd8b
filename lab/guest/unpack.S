# SPDX-License-Identifier: Apache-2.0
# Unpacks the kernel, which follows the initramfs as LZ4, and starts it.
#
# bzimage.py sets PACKED, the size of the packed kernel, and OFFSET, the distance from
# the kernel's address to this code. All addresses are relative to this code, because
# UEFI may choose the kernel's address. rsi is the address of Linux' boot_params.

	.set	RAMDISK_IMAGE, 0x218	# in boot_params
	.set	RAMDISK_SIZE, 0x21c

	.code64
start:
	cld
	mov	%rsi, %rdx
	# With UEFI, only what has been touched is mapped. Map 4 GiB in pages of 2 MiB.
	lea	tables(%rip), %rbx
	mov	%rbx, %rdi
	xor	%eax, %eax
	mov	$6 * 512, %ecx
	rep stosq
	lea	0x1003(%rbx), %rax	# present, writable
	mov	%rax, (%rbx)
	lea	0x1000(%rbx), %rdi
	mov	$4, %ecx
1:	add	$0x1000, %rax
	stosq
	loop	1b
	lea	0x2000(%rbx), %rdi
	mov	$0x83, %eax		# present, writable, 2 MiB
	mov	$4 * 512, %ecx
2:	stosq
	add	$0x200000, %rax
	loop	2b
	mov	%rbx, %cr3

	# The kernel must not see its packed form as a part of its initramfs.
	mov	RAMDISK_IMAGE(%rdx), %esi
	mov	RAMDISK_SIZE(%rdx), %eax
	sub	$PACKED, %eax
	mov	%eax, RAMDISK_SIZE(%rdx)
	add	%rax, %rsi
	lea	start - OFFSET(%rip), %rdi
	mov	%rdi, %rbp

	# LZ4: blocks, each with its size, and 0 after the last.
block:
	lodsl
	test	%eax, %eax
	jz	done
	btr	$31, %eax
	jc	stored
	lea	(%rsi, %rax), %r9	# the end of the block
sequence:
	movzbl	(%rsi), %ebx		# the lengths of the literals and of the match
	inc	%rsi
	mov	%ebx, %ecx
	shr	$4, %ecx
	cmp	$15, %ecx
	jne	literals
3:	movzbl	(%rsi), %eax
	inc	%rsi
	add	%eax, %ecx
	cmp	$255, %eax
	je	3b
literals:
	# Words are copied faster than bytes. What is copied too much is written over.
	lea	(%rsi, %rcx), %r10
	lea	(%rdi, %rcx), %r11
	add	$7, %ecx
	shr	$3, %ecx
	rep movsq
	mov	%r10, %rsi
	mov	%r11, %rdi
	cmp	%r9, %rsi
	jae	block
	lodsw
	movzwl	%ax, %eax		# the distance of the match
	mov	%ebx, %ecx
	and	$15, %ecx
	cmp	$15, %ecx
	jne	match
4:	movzbl	(%rsi), %r10d
	inc	%rsi
	add	%r10d, %ecx
	cmp	$255, %r10d
	je	4b
match:
	add	$4, %ecx
	mov	%rsi, %r10
	mov	%rdi, %rsi
	sub	%rax, %rsi
	lea	(%rdi, %rcx), %r11
	cmp	$8, %eax
	jb	5f
	add	$7, %ecx
	shr	$3, %ecx
	rep movsq
	jmp	6f
5:	rep movsb
6:	mov	%r11, %rdi
	mov	%r10, %rsi
	jmp	sequence
stored:
	mov	%eax, %ecx
	rep movsb
	jmp	block
done:
	mov	%rdx, %rsi
	jmp	*%rbp

	.balign	4096
tables:
