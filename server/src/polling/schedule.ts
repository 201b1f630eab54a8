import { spread } from '../platform/spread.ts';

/** An entry of the schedule: alive until it is taken or dropped. */
export type Scheduled<T> = {
  readonly item: T;
  readonly dueMs: number;
  readonly place: number;
  dropped: boolean;
};

/**
 * Due times in a binary heap, on the monotonic clock. Ties leave in the order they came. Dropping an entry
 * only marks it; it leaves the heap when it comes to the top, or at the next compaction.
 */
export type Schedule<T> = {
  add(item: T, dueMs: number): Scheduled<T>;
  drop(entry: Scheduled<T>): void;
  /** Takes the earliest entry that is due, or null. */
  takeDue(nowMs: number): Scheduled<T> | null;
  nextDueMs(): number | null;
  size(): number;
};

export function createSchedule<T>(): Schedule<T> {
  let heap: Scheduled<T>[] = [];
  let places = 0;
  let droppedInHeap = 0;

  const before = (a: Scheduled<T>, b: Scheduled<T>): boolean =>
    a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.place < b.place);

  function siftUp(start: number): void {
    const entry = heap[start]!;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(entry, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
  }

  function siftDown(start: number): void {
    const entry = heap[start]!;
    let index = start;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, entry)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = entry;
  }

  function removeTop(): Scheduled<T> {
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      siftDown(0);
    }
    return top;
  }

  function discardDropped(): void {
    while (heap.length > 0 && heap[0]!.dropped) {
      removeTop();
      droppedInHeap -= 1;
    }
  }

  return {
    add(item, dueMs) {
      const entry: Scheduled<T> = { item, dueMs, place: places, dropped: false };
      places += 1;
      heap.push(entry);
      siftUp(heap.length - 1);
      return entry;
    },
    drop(entry) {
      if (entry.dropped) return;
      entry.dropped = true;
      droppedInHeap += 1;
      if (droppedInHeap < 1_000 || droppedInHeap * 2 < heap.length) return;
      heap = heap.filter(({ dropped }) => !dropped);
      droppedInHeap = 0;
      for (let index = (heap.length >> 1) - 1; index >= 0; index -= 1) siftDown(index);
    },
    takeDue(nowMs) {
      discardDropped();
      const top = heap[0];
      if (top === undefined || top.dueMs > nowMs) return null;
      removeTop();
      // From here on dropping it means nothing.
      top.dropped = true;
      return top;
    },
    nextDueMs() {
      discardDropped();
      return heap[0]?.dueMs ?? null;
    },
    size: () => heap.length - droppedInHeap,
  };
}

/** Where in the interval a server is polled: the same for ever, and spread evenly over many servers. */
export const offsetMs = (id: string, kind: string, intervalMs: number): number =>
  spread(kind, id) * intervalMs;

/** The first time after `nowMs` at which a server with that offset is due, counting intervals from `originMs`. */
export function firstDueMs(nowMs: number, originMs: number, offset: number, intervalMs: number): number {
  const first = originMs + offset;
  return first + Math.max(0, Math.floor((nowMs - first) / intervalMs) + 1) * intervalMs;
}

/** The due time after `dueMs`: fixed rate, so nothing drifts; missed ones are skipped, so nothing bursts. */
export function followingDueMs(dueMs: number, nowMs: number, intervalMs: number): number {
  return dueMs + (Math.floor(Math.max(0, nowMs - dueMs) / intervalMs) + 1) * intervalMs;
}
