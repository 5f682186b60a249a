// The agent's code (agent.h, docs/notes/agent.md): templates, copied into a guest as they are, but
// for the numbers behind labels that end with _ring, _cookie and the like.
//
// Only registers that a function may change are changed. Slots are laid out in agent_layout.h; the
// one with index 0 is the ring's head. Between `begin` and an end nobody else may use the ring.

#include "engine/record/agent_layout.h"

// Names the operand of so many bytes that has just been emitted.
.macro  operand name, bytes
        .globl  \name
        .set    \name, . - \bytes
.endm

// cmpb $0, __libc_single_threaded(%rip)
.macro  ask_for_threads name
        .byte   0x80, 0x3d
        .long   0
        operand \name, 4
        .byte   0
.endm

.macro  jump name
        .byte   0xe9
        .long   0
        operand \name, 4
.endm

// Registers that a call leaves alone, but for those that lead to the slot. Changes rcx.
.macro  save slot, prefix
        movl    %eax, AGENT_NUMBER(\slot)
        movw    %ds, AGENT_DS(\slot)
        movw    %es, AGENT_ES(\slot)
        movq    %rbx, AGENT_RBX(\slot)
        movq    %rbp, AGENT_RBP(\slot)
        movq    %r12, AGENT_R12(\slot)
        movq    %r13, AGENT_R13(\slot)
        movq    %r14, AGENT_R14(\slot)
        movq    %r15, AGENT_R15(\slot)
        movq    %rsp, AGENT_RSP(\slot)
        movq    %rdi, AGENT_RDI(\slot)
        movq    %rsi, AGENT_RSI(\slot)
        .globl \prefix\()_bases
\prefix\()_bases:                       // nothing where the kernel does not allow it
        rdfsbase %rcx
        movq    %rcx, AGENT_FS_BASE(\slot)
        rdgsbase %rcx
        movq    %rcx, AGENT_GS_BASE(\slot)
        .globl \prefix\()_bases_end
\prefix\()_bases_end:
        pushfq
        popq    AGENT_FLAGS(\slot)
        movw    %fs, AGENT_FS(\slot)    // in the half of the flags that is always zero
        movw    %gs, AGENT_GS(\slot)
.endm

// For calls that use neither r8 nor r9.
.macro  show_cookies prefix
        movabsq $0, %r8                 // last: nothing can fault with them there
        operand \prefix\()_first_cookie, 8
        movabsq $0, %r9
        operand \prefix\()_second_cookie, 8
.endm

// Of the ring at r11. 0: it is full.
.macro  next_slot slot
        movl    (%r11), \slot
        incl    \slot
        andl    $(AGENT_SLOTS - 1), \slot
.endm

// For the reader of the templates (agent_templates.cpp): where what all of them have is.
.macro  labels prefix
        .pushsection .data.rel.ro, "aw"
        .balign 8
        .globl  \prefix\()_labels
\prefix\()_labels:
        .quad   \prefix\()_code, \prefix\()_code_end
        .quad   \prefix\()_first_ring, \prefix\()_second_ring
        .quad   \prefix\()_first_cookie, \prefix\()_second_cookie
        .quad   \prefix\()_bases, \prefix\()_bases_end
        .quad   \prefix\()_begin, \prefix\()_called, \prefix\()_return, \prefix\()_traced
        .popsection
.endm

// Of a function that may wait (below). Behind the question for threads, where there are none: rcx
// leads to a call that stops, and r9 behind it.
.macro  without_threads prefix
        movabsq $0, %rcx
        operand \prefix\()_alone, 8
        movabsq $0, %r9
        operand \prefix\()_behind_alone, 8
        jmp     2f
1:      jump    \prefix\()_second      // where the C library has found that out
        .globl  \prefix\()_with_threads
\prefix\()_with_threads:
.endm
// And where there are some.
.macro  with_threads prefix
        movabsq $0, %rcx
        operand \prefix\()_with_others, 8
        movabsq $0, %r9
        operand \prefix\()_behind_with_others, 8
2:
.endm

// From here on the ring is used, for a call of descriptor edi.
.macro  begin_with_descriptor prefix
        movabsq $0, %r11
        operand \prefix\()_first_ring, 8
        .globl  \prefix\()_begin
\prefix\()_begin:
        btl     %edi, AGENT_BITMAP(%r11)
        jnc     \prefix\()_traced
.endm

// Goes on to 3 where the ring is full. Else r8d is a slot.
.macro  note_way_back
        movq    %rcx, AGENT_OWN_CALL(%r11)
        next_slot %r8d
        jz      3f
        movq    %r9, AGENT_BEHIND(%r11)
        movl    %eax, AGENT_KEPT(%r11)
.endm

// Goes on to 4 where there is no room for a copy of rcx bytes. Else r11 is the slot, and has what
// the third argument is.
.macro  begin_slot prefix
        addq    AGENT_CURSOR(%r11), %rcx
        movabsq $0, %r9
        operand \prefix\()_copies_end, 8
        cmpq    %r9, %rcx
        ja      4f
        movq    AGENT_CURSOR(%r11), %rcx
        shll    $AGENT_SLOT_SHIFT, %r8d
        addq    %r8, %r11
        movq    %rdx, AGENT_OUTPUT(%r11)
        movq    %rcx, (AGENT_OUTPUT + 8)(%r11)
        movl    $0, %eax
        operand \prefix\()_number, 4
.endm

// Behind the call: r11 is the ring again, and r8 leads to the slot from there.
.macro  note_result prefix
        .globl  \prefix\()_called
\prefix\()_called:
        movabsq $0, %r11
        operand \prefix\()_second_ring, 8
        next_slot %r8d
        shll    $AGENT_SLOT_SHIFT, %r8d
        movq    %rax, AGENT_RESULT(%r11, %r8)
.endm

// Of rcx bytes that the call has stored.
.macro  copy_stored
        movq    AGENT_CURSOR(%r11), %rdi
        rep movsb
        movq    %rdi, AGENT_CURSOR(%r11)
.endm

// 5: to behind the C library's own call; 6: to rcx.
.macro  end_function prefix
5:      movq    AGENT_BEHIND(%r11), %rcx
6:      movl    AGENT_KEPT(%r11), %r8d
        xorl    %r9d, %r9d
        incl    (%r11)
        .globl  \prefix\()_return
\prefix\()_return:
        jmp     *%rcx
3:      incl    (%r11)                  // the ring is full
4:      movq    AGENT_OWN_CALL(%r11), %rcx
        movabsq $0, %r8                 // what has been copied will have been read by then
        operand \prefix\()_copies, 8
        movq    %r8, AGENT_CURSOR(%r11)
        .globl  \prefix\()_traced
\prefix\()_traced:
        jmp     *%rcx
        .globl  \prefix\()_code_end
\prefix\()_code_end:
        labels  \prefix
        .pushsection .data.rel.ro, "aw" // behind those
        .quad   \prefix\()_threads, \prefix\()_second, \prefix\()_with_threads
        .quad   \prefix\()_alone, \prefix\()_behind_alone
        .quad   \prefix\()_with_others, \prefix\()_behind_with_others
        .quad   \prefix\()_copies, \prefix\()_copies_end, \prefix\()_number
        .popsection
.endm

        .section .rodata
        .balign 16

// In the vDSO, in place of clock_gettime, gettimeofday and time.
        .globl rchk_clock_code
rchk_clock_code:
        .globl rchk_clock_gettime
rchk_clock_gettime:                     // (clock, timespec *)
        movl    $228, %eax
        movq    %rsi, %r10              // where the result goes: 16 bytes
        jmp     1f
        .globl rchk_clock_gettimeofday
rchk_clock_gettimeofday:                // (timeval *, timezone *)
        movl    $96, %eax
        movq    %rdi, %r10
        testq   %rsi, %rsi
        jnz     rchk_clock_traced
        testq   %rdi, %rdi
        jz      rchk_clock_traced
        jmp     1f
        .globl rchk_clock_time
rchk_clock_time:                        // (time_t *)
        movl    $201, %eax
        xorl    %r10d, %r10d
1:      movabsq $0, %r11
        operand rchk_clock_first_ring, 8
        .globl rchk_clock_begin
rchk_clock_begin:
        next_slot %edx
        jz      2f
        shll    $AGENT_SLOT_SHIFT, %edx
        addq    %r11, %rdx              // the slot
        save    %rdx, rchk_clock
        show_cookies rchk_clock
        syscall
        .globl rchk_clock_called
rchk_clock_called:
        xorl    %r8d, %r8d              // no other call is to pass the filter
        xorl    %r9d, %r9d
        movq    %rax, AGENT_RESULT(%rdx)
        testq   %rax, %rax
        jnz     1f                      // it failed, or it is time(), whose result is all
        movq    (%r10), %rcx
        movq    %rcx, AGENT_OUTPUT(%rdx)
        movq    8(%r10), %rcx
        movq    %rcx, (AGENT_OUTPUT + 8)(%rdx)
1:      movabsq $0, %rcx
        operand rchk_clock_second_ring, 8
        incl    (%rcx)
        .globl rchk_clock_return
rchk_clock_return:
        ret
        int3                            // no task stands behind an end but at a trap
2:      incl    (%r11)                  // the ring is full: a call that stops
        .globl rchk_clock_traced
rchk_clock_traced:
        syscall
        ret
        .globl rchk_clock_code_end
rchk_clock_code_end:
        labels  rchk_clock
        .pushsection .data.rel.ro, "aw"
        .quad   rchk_clock_gettime, rchk_clock_gettimeofday, rchk_clock_time
        .popsection

// In front of the C library's pread64 or pwrite64 (descriptor, buffer, bytes, offset), whose first
// instruction has become a jump to here, and is here instead: it asks whether there are threads.
        .globl rchk_file_code
rchk_file_code:
        ask_for_threads rchk_file_first_threads
        je      rchk_file_traced
        cmpl    $AGENT_DESCRIPTORS, %edi
        jae     rchk_file_traced
        cmpq    $AGENT_DATA_BYTES, %rdx
        ja      rchk_file_traced
        movabsq $0, %r11
        operand rchk_file_first_ring, 8
        .globl rchk_file_begin
rchk_file_begin:
        movl    %edi, %eax              // the descriptor's bit
        btl     %eax, AGENT_BITMAP(%r11)
        jnc     rchk_file_traced
        movq    %rcx, %r10
        movl    $0, %eax
        operand rchk_file_number, 4
        next_slot %r8d
        jz      2f
        shll    $AGENT_SLOT_SHIFT, %r8d
        addq    %r8, %r11               // the slot
        movq    %rdx, AGENT_OUTPUT(%r11)
        movq    %r10, (AGENT_OUTPUT + 8)(%r11)
        save    %r11, rchk_file
        show_cookies rchk_file
        syscall
        .globl rchk_file_called
rchk_file_called:
        movabsq $0, %r11
        operand rchk_file_second_ring, 8
        next_slot %r8d
        movl    %r8d, %r9d
        shll    $AGENT_SLOT_SHIFT, %r9d
        movq    %rax, AGENT_RESULT(%r11, %r9)
        cmpl    $17, AGENT_NUMBER(%r11, %r9)
        jne     1f
        testq   %rax, %rax
        jle     1f
        shll    $AGENT_DATA_SHIFT, %r8d // what it has read
        movabsq $0, %rdi
        operand rchk_file_data, 8
        addq    %r8, %rdi
        movq    %rax, %rcx
        rep movsb
1:      xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        incl    (%r11)
        .globl rchk_file_return
rchk_file_return:
        jump    rchk_file_behind        // the C library's own call
2:      incl    (%r11)                  // the ring is full
        movq    %r10, %rcx
        .globl rchk_file_traced
rchk_file_traced:
        ask_for_threads rchk_file_second_threads
        jump    rchk_file_second        // to the C library's second instruction
        .globl rchk_file_code_end
rchk_file_code_end:
        labels  rchk_file
        .pushsection .data.rel.ro, "aw"
        .quad   rchk_file_first_threads, rchk_file_second_threads, rchk_file_second
        .quad   rchk_file_behind, rchk_file_data, rchk_file_number
        .popsection

// The same for read and write (descriptor, buffer, bytes), and for writev and sendmsg, of which only
// the result counts: functions that may wait. With threads and without: in front of the function,
// where there are none; and behind its call of __pthread_enable_asynccancel, which has said what eax
// is now and r8 is to be behind the call.
        .globl rchk_stream_code
rchk_stream_code:
        ask_for_threads rchk_stream_threads
        je      1f
        xorl    %eax, %eax
        without_threads rchk_stream
        movq    0x10(%rsp), %rsi        // in place of which there is the jump to here
        movl    0x8(%rsp), %edi
        with_threads rchk_stream
        cmpl    $AGENT_DESCRIPTORS, %edi
        jae     rchk_stream_traced
        cmpq    $AGENT_STREAM_BYTES, %rdx
        ja      rchk_stream_traced
        begin_with_descriptor rchk_stream
        note_way_back
        movq    %rdx, %rcx
        begin_slot rchk_stream
        xorl    %r10d, %r10d
        save    %r11, rchk_stream
        show_cookies rchk_stream
        syscall
        note_result rchk_stream
        cmpl    $0, AGENT_NUMBER(%r11, %r8)
        jne     5f
        testq   %rax, %rax
        jle     5f
        movq    %rax, %rcx
        copy_stored
        end_function rchk_stream

// The same for epoll_wait (descriptor, events, their number, milliseconds): made with a time-out of 0.
// Where that finds something, or the caller's own is 0, it is the caller's result; else the C library
// makes its own call, which waits or fails. One that finds nothing has changed nothing.
        .globl rchk_wait_code
rchk_wait_code:
        ask_for_threads rchk_wait_threads
        je      1f
        movl    %ecx, %r10d
        without_threads rchk_wait
        movl    0x1c(%rsp), %r10d       // in place of which there is the jump to here
        movl    0x18(%rsp), %edx
        movq    0x10(%rsp), %rsi
        movl    0xc(%rsp), %edi
        with_threads rchk_wait
        cmpl    $AGENT_DESCRIPTORS, %edi
        jae     rchk_wait_traced
        cmpl    $AGENT_MOST_EPOLL_EVENTS, %edx
        ja      rchk_wait_traced
        begin_with_descriptor rchk_wait
        testl   %r10d, %r10d
        jz      1f
        cmpl    $AGENT_MOST_MISSES, AGENT_MISSES(%r11)
        jb      1f                      // else looking seems to be in vain
        incl    AGENT_MISSES(%r11)
        testl   $(AGENT_LOOKS_ONE_IN - 1), AGENT_MISSES(%r11)
        jnz     rchk_wait_traced
1:      note_way_back
        movl    %r10d, AGENT_TIME_OUT(%r11)
        imull   $AGENT_EPOLL_EVENT_BYTES, %edx, %ecx
        begin_slot rchk_wait
        xorl    %r10d, %r10d
        save    %r11, rchk_wait
        show_cookies rchk_wait
        syscall
        note_result rchk_wait
        movl    AGENT_TIME_OUT(%r11), %r10d
        testq   %rax, %rax
        jg      1f
        js      2f
        testl   %r10d, %r10d
        jz      5f
2:      incl    AGENT_MISSES(%r11)
        movl    AGENT_KEPT(%r11), %eax
        movq    AGENT_OWN_CALL(%r11), %rcx
        jmp     6f
1:      imull   $AGENT_EPOLL_EVENT_BYTES, %eax, %ecx
        copy_stored
        movl    %ecx, AGENT_MISSES(%r11)
        end_function rchk_wait

// The same for recv and send (descriptor, buffer, bytes, flags), which are recvfrom and sendto with
// two zeros in r8 and r9. So the cookies are in the upper halves of rdi and r10, which hold an int
// each: 32 bits of them.
        .globl rchk_socket_code
rchk_socket_code:
        ask_for_threads rchk_socket_threads
        je      1f
        movl    %ecx, %r10d
        without_threads rchk_socket
        movl    0x1c(%rsp), %r10d       // in place of which there is the jump to here
        movl    %eax, %ebp              // as the C library does next
        movq    0x10(%rsp), %rdx
        movq    0x8(%rsp), %rsi
        movl    (%rsp), %edi
        with_threads rchk_socket
        cmpl    $AGENT_DESCRIPTORS, %edi
        jae     rchk_socket_traced
        cmpq    $AGENT_STREAM_BYTES, %rdx
        ja      rchk_socket_traced
        testl   $~AGENT_FLAGS_ALLOWED, %r10d
        jnz     rchk_socket_traced
        begin_with_descriptor rchk_socket
        note_way_back
        movq    %rdx, %rcx
        begin_slot rchk_socket
        movl    %edi, %edi
        save    %r11, rchk_socket
        movl    %r10d, (AGENT_RDI + 4)(%r11)
        show_cookies rchk_socket
        leaq    (%rdi, %r8), %rdi       // no flags change from here on
        leaq    (%r10, %r9), %r10
        movl    $0, %r8d
        movl    $0, %r9d
        syscall
        note_result rchk_socket
        movl    %edi, %edi
        movl    %r10d, %r10d
        cmpl    $45, AGENT_NUMBER(%r11, %r8)
        jne     5f
        testq   %rax, %rax
        jle     5f
        movq    %rax, %rcx
        copy_stored
        end_function rchk_socket

        .section .note.GNU-stack, "", @progbits
