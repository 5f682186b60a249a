// The layout of the ring that the agent's code writes (agent_code.S), for it and for its reader.
// Included by assembler as well: macros only.
#pragma once

#define AGENT_SLOT_SHIFT 7  // 128 bytes each
#define AGENT_SLOTS 64

// In the head, behind the count of calls. Of a read or write that is being made: where the code
// leads to behind it, and what r8 is there. Where the next read may put a copy of what it reads. Of
// an epoll_wait also the call that stops, and the caller's time-out; and how many have found
// nothing, one after the other, or have not looked.
#define AGENT_BEHIND 8
#define AGENT_KEPT 16
#define AGENT_CURSOR 24
#define AGENT_OWN_CALL 32
#define AGENT_TIME_OUT 40
#define AGENT_MISSES 44
// A bit for each descriptor whose calls an agent makes.
#define AGENT_BITMAP 64
#define AGENT_DESCRIPTORS 512

// In a slot. The output is what a clock says, or the third and the fourth argument; of a read or
// write without an offset the third, and where the copy begins. Of recv and send the upper half of
// rdi is that of its flags.
#define AGENT_NUMBER 0
#define AGENT_DS 4
#define AGENT_ES 6
#define AGENT_RESULT 8
#define AGENT_OUTPUT 16
#define AGENT_RBX 32
#define AGENT_RBP 40
#define AGENT_R12 48
#define AGENT_R13 56
#define AGENT_R14 64
#define AGENT_R15 72
#define AGENT_RSP 80
#define AGENT_RDI 88
#define AGENT_RSI 96
#define AGENT_FLAGS 104
#define AGENT_FS 108
#define AGENT_GS 110
#define AGENT_FS_BASE 112
#define AGENT_GS_BASE 120

// What a slot's pread64 has read, apart from the ring.
#define AGENT_DATA_SHIFT 13
#define AGENT_DATA_BYTES 8192

// What reads have read, one behind the other, and the most that one may ask for.
#define AGENT_COPIES_BYTES 524288
#define AGENT_STREAM_BYTES 65536

// Flags of recv and send: MSG_PEEK, MSG_DONTWAIT, MSG_NOSIGNAL and MSG_MORE. Those with others
// stop: for what one of them stores is more, or less, than it returns.
#define AGENT_FLAGS_ALLOWED 0xc042

// struct epoll_event is packed. The most that an epoll_wait may ask for: 256 KiB. Behind so many
// that found nothing one in so many looks, a power of two.
#define AGENT_EPOLL_EVENT_BYTES 12
#define AGENT_MOST_EPOLL_EVENTS 21845
#define AGENT_MOST_MISSES 8
#define AGENT_LOOKS_ONE_IN 16
