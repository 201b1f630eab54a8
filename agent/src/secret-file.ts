import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { StartupError } from './errors.ts';

const othersMayAccess = 0o007;

/**
 * Reads a small file that holds a secret, without the white space around it.
 *
 * Throws a StartupError naming `setting` and the file when it cannot be read, is larger than `maxBytes`,
 * is no ordinary file, or when every user of the machine may open it: then it is not a secret.
 */
export function readSecretFile(setting: string, path: string, maxBytes: number): string {
  const refuse = (why: string, cause?: unknown): never => {
    throw new StartupError(`${setting}: the file ${path} ${why}`, { cause });
  };
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    return refuse(`cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
  }
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) refuse('is not an ordinary file');
    if ((stats.mode & othersMayAccess) !== 0) refuse('may be opened by every user: run chmod o= on it');
    const buffer = Buffer.alloc(maxBytes + 1);
    const bytes = readSync(file, buffer);
    if (bytes > maxBytes) refuse(`is larger than ${maxBytes} bytes`);
    return buffer.toString('utf8', 0, bytes).trim();
  } finally {
    closeSync(file);
  }
}
