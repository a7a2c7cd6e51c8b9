# The guest of ProbeKVM: real mode, protected mode, long mode with paging, SSE; it writes R, P, L, K to the debug console
# (port 0x402) and leaves through isa-debug-exit (port 0xf4). It runs from the last 64 KiB below 1 MiB, where QEMU shows
# the end of the -bios image, and uses RAM at 0x1000-0x7fff. probe.bin is its text:
#	as --64 probe.S -o probe.o && objcopy -O binary -j .text probe.o probe.bin
# The SSE move is there because KVM's instruction emulator has none: where a broken KVM emulates every instruction
# instead of running it, plain code gets through and firmware does not.
	.set	SHADOW, 0xf0000
	.text
	.code16
start:
	cli
	cld
	mov	$0x402, %dx
	mov	$'R', %al
	out	%al, %dx
	lgdtl	%cs:(gdtr - start + 0xfe00)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$8, $(SHADOW + 0xfe00 + protected - start)
	.code32
protected:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$0x8000, %esp
	mov	$'P', %al
	out	%al, %dx
	xor	%eax, %eax
	mov	$0x1000, %edi
	mov	$0xc00, %ecx
	rep stosl
	movl	$0x2003, 0x1000
	movl	$0x3003, 0x2000
	movl	$0x0083, 0x3000
	mov	%cr4, %eax
	or	$0x620, %eax
	mov	%eax, %cr4
	mov	$0x1000, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	ljmpl	$0x18, $(SHADOW + 0xfe00 + long - start)
	.code64
long:
	mov	$0x402, %edx		# rdmsr used it
	mov	$'L', %al
	out	%al, %dx
	mov	$100000, %ecx
	xor	%ebx, %ebx
1:	add	%ecx, %ebx
	push	%rbx
	pop	%rsi
	loop	1b
	movq	%rbx, %xmm0
	movq	%xmm0, %rdi
	cmp	%rsi, %rdi
	jne	2f
	cmp	$705082704, %ebx
	jne	2f
	mov	$'K', %al
	out	%al, %dx
	mov	$0x2a, %al
	out	%al, $0xf4
2:	hlt
	jmp	2b
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x00af9b000000ffff
gdtr:
	.word	gdtr - gdt - 1
	.long	SHADOW + 0xfe00 + gdt - start
