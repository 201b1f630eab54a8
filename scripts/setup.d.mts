type Locked = {
  version?: string;
  resolved?: string;
  link?: boolean;
  dev?: boolean;
  optional?: boolean;
  os?: string | string[];
  cpu?: string | string[];
  libc?: string | string[];
};
type LockFile = { packages: Record<string, Locked> };

export function missingPackages(
  lock: LockFile,
  installed: LockFile,
  options: { mode: 'start' | 'test'; platform: { os: string; cpu: string; libc: string } },
): string[];
export function adviceFor(output: string): string;
export function webStamp(root: string): string;
