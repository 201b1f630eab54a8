import type { TestProject } from 'vitest/node';

/** How a test file reaches the test run's one PostgreSQL: `inject('postgres')`. */
export type TestPostgres = { host: string; port: number; user: string; database: string; superuser: string };

declare module 'vitest' {
  // Declaration merging is how vitest types `inject`, and needs an interface.
  interface ProvidedContext {
    postgres: TestPostgres;
  }
}

/** vitest's globalSetup: one embedded PostgreSQL for the whole run, in a directory that goes with it. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (Number.parseInt(process.versions.node, 10) < 24) {
    throw new Error(
      `The tests need Node 24, and this is ${process.version}. Run them by npm ("npm test", "npx vitest"), ` +
        'which finds the one in node_modules/.bin.',
    );
  }
  // Not imported at the top: an older Node would fail there, and less clearly.
  const { removeAbandonedServers, startTestServer } = await import('./postgres-server.ts');
  await removeAbandonedServers();
  const server = await startTestServer();
  project.provide('postgres', server.connection);
  return () => server.stopAndRemove();
}
