import { readFileSync } from 'node:fs';

/** A file of `src/collect/testdata`. */
export function fixture(name: string): string {
  return fixtureBytes(name).toString('utf8');
}

export function fixtureBytes(name: string): Buffer {
  return readFileSync(new URL(`../src/collect/testdata/${name}`, import.meta.url));
}
