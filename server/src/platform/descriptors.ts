import { readFileSync } from 'node:fs';

/** How many files and sockets this process may have open at once; null where the system does not say. */
export function descriptorLimit(): number | null {
  try {
    return parseLimits(readFileSync('/proc/self/limits', 'utf8'));
  } catch {
    return null;
  }
}

/** The soft limit of "Max open files" in proc_pid_limits(5); null for "unlimited" and for anything else. */
export function parseLimits(text: string): number | null {
  const match = /^Max open files +(\d+) /m.exec(text);
  return match === null ? null : Number(match[1]);
}
