import { setTimeout as delay } from 'node:timers/promises';

/**
 * Asks until the answer is something, and returns it. For what has no signal of its own, such as a row that
 * another process writes. The limit is there to end a test that has failed, and says nothing of speed.
 */
export async function until<T>(what: string, ask: () => Promise<T | null | undefined | false>): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== undefined && answer !== false) return answer;
    if (performance.now() > endMs) throw new Error(`waited ${limitMs / 1000} s in vain for ${what}`);
    await delay(20);
  }
}

const limitMs = 25_000;
