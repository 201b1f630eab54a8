import fc from 'fast-check';

/** Some three times what the longest takes; a slower machine tries fewer cases. */
const longestMs = 60_000;

type Arbitraries<Drawn extends [unknown, ...unknown[]]> = {
  [Place in keyof Drawn]: fc.Arbitrary<Drawn[Place]>;
};

/**
 * Asserts that a property of the database holds, in twelve cases or as many as there is time for. Throws as `fc.assert`
 * does. The case that time breaks off is waited for: it goes on, and the tables are the next test's.
 */
export async function assertProperty<Drawn extends [unknown, ...unknown[]]>(
  arbitraries: Arbitraries<Drawn>,
  property: (...drawn: Drawn) => Promise<void>,
  timeLimitMs: number = longestMs,
): Promise<void> {
  let running = Promise.resolve();
  const noted = (...drawn: Drawn): Promise<void> => (running = property(...drawn));
  try {
    await fc.assert(fc.asyncProperty<Drawn>(...arbitraries, noted), {
      numRuns: 12,
      interruptAfterTimeLimit: timeLimitMs,
    });
  } finally {
    await running.catch(() => undefined);
  }
}
