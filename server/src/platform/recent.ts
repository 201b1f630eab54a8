import type { Clock } from './clock.ts';

/**
 * Answers that may be up to `maxAgeMs` old, computed once for all who ask meanwhile. The age is that of the
 * question's start, so an answer is never older than it claims. A failure is not remembered.
 */
export function createRecent<T>(options: { clock: Clock; maxAgeMs: number; maxEntries: number }) {
  const { clock, maxAgeMs, maxEntries } = options;
  const entries = new Map<string, { startedMs: number; value: Promise<T> }>();
  return (key: string, compute: () => Promise<T>): Promise<T> => {
    const now = clock.monotonicMs();
    const known = entries.get(key);
    if (known !== undefined && now - known.startedMs < maxAgeMs) return known.value;
    if (entries.size >= maxEntries) entries.clear();
    const value = compute();
    const entry = { startedMs: now, value };
    entries.set(key, entry);
    value.catch(() => {
      if (entries.get(key) === entry) entries.delete(key);
    });
    return value;
  };
}
