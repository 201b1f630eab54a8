import type { Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';

/** The code of a system error (`ENOENT`, …) or of a PostgreSQL error (SQLSTATE); undefined for any other. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** `lstat`, with a path that does not exist as undefined. */
export async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
