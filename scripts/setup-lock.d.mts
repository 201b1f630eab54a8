export function takeLock(directory: string, onWait: (owner: string) => void): Promise<() => void>;
