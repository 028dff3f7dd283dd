"""What depends on the processor and the operating system.

@pause: tells the core that this is a polling loop.
@fp_load, @fp_store: the floating-point control word without its sticky exception flags.  Threads inherit
it from their creator, and libraries built with -ffast-math set flush-to-zero in whoever loads them, so a
program runs every piece under the default word: else subnormals would depend on the thread.
"""

from __future__ import annotations

__all__ = ["LINUX_CPUS", "MACHINES", "OTHER_MACHINE", "POSIX_CLOCK", "UNKNOWN_CPUS", "WINDOWS_CLOCK"]

MACHINES = {
    "x86_64": """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
@fp_default = internal constant i64 8064
define internal void @pause() alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}
define internal i64 @fp_load() alwaysinline {
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %raw = load i32, ptr %place
  %word = and i32 %raw, 65472
  %wide = zext i32 %word to i64
  ret i64 %wide
}
define internal void @fp_store(i64 %wide) alwaysinline {
  %place = alloca i32
  %word = trunc i64 %wide to i32
  store i32 %word, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret void
}
""",
    "aarch64": """
declare void @llvm.aarch64.isb(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
@fp_default = internal constant i64 0
define internal void @pause() alwaysinline {
  call void @llvm.aarch64.isb(i32 15)
  ret void
}
define internal i64 @fp_load() alwaysinline {
  %word = call i64 @llvm.aarch64.get.fpcr()
  ret i64 %word
}
define internal void @fp_store(i64 %word) alwaysinline {
  call void @llvm.aarch64.set.fpcr(i64 %word)
  ret void
}
""",
}

OTHER_MACHINE = """
@fp_default = internal constant i64 0
define internal void @pause() alwaysinline {
  ret void
}
define internal i64 @fp_load() alwaysinline {
  ret i64 0
}
define internal void @fp_store(i64 %word) alwaysinline {
  ret void
}
"""

POSIX_CLOCK = """
define internal i64 @now() {
  %time = alloca [2 x i64], align 8
  %rc = call i32 @clock_gettime(i32 $CLOCK, ptr %time)
  %s = load i64, ptr %time
  %ns.p = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.p
  %s.ns = mul i64 %s, 1000000000
  %t = add i64 %s.ns, %ns
  ret i64 %t
}
"""

WINDOWS_CLOCK = """
define internal i64 @now() {
  %time = alloca i64, align 8
  call void @GetSystemTimePreciseAsFileTime(ptr %time)
  %ticks = load i64, ptr %time
  %t = mul i64 %ticks, 100
  ret i64 %t
}
"""

LINUX_CPUS = """
; The CPU that this thread is on.
define internal i64 @cpu() {
  %n = call i32 @sched_getcpu()
  %wide = sext i32 %n to i64
  ret i64 %wide
}

; Moves a thread that is on the caller's CPU to another one, if it may use another: forbids itself that CPU for a moment.
define internal void @leave_callers_cpu(ptr %pool) {
entry:
  %mask = alloca [$CPU_WORDS x i64], align 8
  %cpu.p = getelementptr i8, ptr %pool, i64 $POOL_CPU
  %theirs = load atomic i64, ptr %cpu.p monotonic, align 8
  %mine = call i64 @cpu()
  %shared = icmp eq i64 %mine, %theirs
  %known = icmp ult i64 %mine, $CPUS
  %both = and i1 %shared, %known
  br i1 %both, label %look, label %done
look:
  %rc1 = call i32 @sched_getaffinity(i32 0, i64 $CPU_BYTES, ptr %mask)
  %failed = icmp slt i32 %rc1, 0
  br i1 %failed, label %done, label %count
count:
  %k = phi i64 [ 0, %look ], [ %k.next, %count ]
  %sum = phi i64 [ 0, %look ], [ %sum.next, %count ]
  %word.p = getelementptr i64, ptr %mask, i64 %k
  %word = load i64, ptr %word.p
  %bits = call i64 @llvm.ctpop.i64(i64 %word)
  %sum.next = add i64 %sum, %bits
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, $CPU_WORDS
  br i1 %more, label %count, label %choose
choose:
  %others = icmp sgt i64 %sum.next, 1
  br i1 %others, label %move, label %done
move:
  %number = lshr i64 %mine, 6
  %here.p = getelementptr i64, ptr %mask, i64 %number
  %here = load i64, ptr %here.p
  %place = and i64 %mine, 63
  %bit = shl i64 1, %place
  %not = xor i64 %bit, -1
  %without = and i64 %here, %not
  store i64 %without, ptr %here.p
  %rc2 = call i32 @sched_setaffinity(i32 0, i64 $CPU_BYTES, ptr %mask)
  store i64 %here, ptr %here.p
  %rc3 = call i32 @sched_setaffinity(i32 0, i64 $CPU_BYTES, ptr %mask)
  br label %done
done:
  ret void
}
declare i64 @llvm.ctpop.i64(i64)
"""

UNKNOWN_CPUS = """
define internal i64 @cpu() {
  ret i64 -1
}
define internal void @leave_callers_cpu(ptr %pool) {
  ret void
}
"""
