"""Where the buffers of a program lie in its arena: best fit, see ``buffers.place``."""

from __future__ import annotations

__all__ = ["PLACE"]

PLACE = """
; Offsets for blocks, rows of (bytes, first step, last step), in this order; those from number %large on come alive in it.
; %placed: n words, the blocks so far that take memory, as numbers in the order, by their offsets.  Returns where the last ends.
define i64 @fx_place(ptr %blocks, ptr %order, i64 %n, i64 %large, ptr %offsets, ptr %placed) {
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %next ]
  %count = phi i64 [ 0, %entry ], [ %count.next, %next ]
  %end = phi i64 [ 0, %entry ], [ %end.next, %next ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %done
one:
  %i.p = getelementptr i64, ptr %order, i64 %k
  %i = load i64, ptr %i.p
  %row.at = mul i64 %i, 3
  %row = getelementptr i64, ptr %blocks, i64 %row.at
  %begins.p = getelementptr i64, ptr %row, i64 1
  %ends.p = getelementptr i64, ptr %row, i64 2
  %nbytes = load i64, ptr %row
  %begins = load i64, ptr %begins.p
  %ends = load i64, ptr %ends.p
  %small = icmp sge i64 %k, %large
  br label %scan
scan:
  %j = phi i64 [ 0, %one ], [ %j.next, %look ]
  %kept = phi i64 [ 0, %one ], [ %kept.next, %look ]
  %cursor = phi i64 [ 0, %one ], [ %cursor.next, %look ]
  %best = phi i64 [ 9223372036854775807, %one ], [ %best.next, %look ]
  %at = phi i64 [ -1, %one ], [ %at.next, %look ]
  %left = icmp slt i64 %j, %count
  br i1 %left, label %look, label %tail
look:
  %p.p = getelementptr i64, ptr %placed, i64 %j
  %p = load i64, ptr %p.p
  %q.p = getelementptr i64, ptr %order, i64 %p
  %q = load i64, ptr %q.p
  %q.at = mul i64 %q, 3
  %q.row = getelementptr i64, ptr %blocks, i64 %q.at
  %q.begins.p = getelementptr i64, ptr %q.row, i64 1
  %q.ends.p = getelementptr i64, ptr %q.row, i64 2
  %q.nbytes = load i64, ptr %q.row
  %q.begins = load i64, ptr %q.begins.p
  %q.ends = load i64, ptr %q.ends.p
  %q.offset.p = getelementptr i64, ptr %offsets, i64 %q
  %q.offset = load i64, ptr %q.offset.p
  %q.stop = add i64 %q.offset, %q.nbytes
  %over = icmp slt i64 %q.ends, %begins
  %later = icmp slt i64 %ends, %q.begins
  %apart = or i1 %over, %later
  ; one that came alive in order, and is over now, meets none of those to come
  %q.small = icmp sge i64 %p, %large
  %both.small = and i1 %small, %q.small
  %gone = and i1 %both.small, %over
  %stays = xor i1 %gone, true
  %kept.p = getelementptr i64, ptr %placed, i64 %kept
  store i64 %p, ptr %kept.p
  %step = zext i1 %stays to i64
  %kept.next = add i64 %kept, %step
  %hole = sub i64 %q.offset, %cursor
  %fits = icmp sge i64 %hole, %nbytes
  %tighter = icmp slt i64 %hole, %best
  %good = and i1 %fits, %tighter
  %meets = xor i1 %apart, true
  %take = and i1 %good, %meets
  %best.next = select i1 %take, i64 %hole, i64 %best
  %at.next = select i1 %take, i64 %cursor, i64 %at
  %beyond = icmp sgt i64 %q.stop, %cursor
  %moves = and i1 %beyond, %meets
  %cursor.next = select i1 %moves, i64 %q.stop, i64 %cursor
  %j.next = add i64 %j, 1
  br label %scan
tail:
  %rest = sub i64 %end, %cursor
  %rest.fits = icmp sge i64 %rest, %nbytes
  %rest.tighter = icmp slt i64 %rest, %best
  %rest.good = and i1 %rest.fits, %rest.tighter
  %nowhere = icmp slt i64 %at, 0
  %behind = or i1 %rest.good, %nowhere
  %place = select i1 %behind, i64 %cursor, i64 %at
  %place.p = getelementptr i64, ptr %offsets, i64 %i
  store i64 %place, ptr %place.p
  %stop = add i64 %place, %nbytes
  %longer = icmp sgt i64 %stop, %end
  %end.next = select i1 %longer, i64 %stop, i64 %end
  %empty = icmp eq i64 %nbytes, 0
  br i1 %empty, label %next, label %shift
shift:
  %m = phi i64 [ %kept, %tail ], [ %m.less, %move ]
  %first = icmp eq i64 %m, 0
  br i1 %first, label %put, label %compare
compare:
  %m.less = sub i64 %m, 1
  %r.p = getelementptr i64, ptr %placed, i64 %m.less
  %r = load i64, ptr %r.p
  %r.i.p = getelementptr i64, ptr %order, i64 %r
  %r.i = load i64, ptr %r.i.p
  %r.offset.p = getelementptr i64, ptr %offsets, i64 %r.i
  %r.offset = load i64, ptr %r.offset.p
  %above = icmp sgt i64 %r.offset, %place
  br i1 %above, label %move, label %put
move:
  %m.p = getelementptr i64, ptr %placed, i64 %m
  store i64 %r, ptr %m.p
  br label %shift
put:
  %put.p = getelementptr i64, ptr %placed, i64 %m
  store i64 %k, ptr %put.p
  %kept.more = add i64 %kept, 1
  br label %next
next:
  %count.next = phi i64 [ %kept, %tail ], [ %kept.more, %put ]
  %k.next = add i64 %k, 1
  br label %loop
done:
  ret i64 %end
}
"""
