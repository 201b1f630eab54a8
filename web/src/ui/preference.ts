/** What a person chose on this browser. Where storage is forbidden, choices last as long as the page. */
const memory = new Map<string, string>();

export function readPreference(name: string): string | null {
  try {
    return localStorage.getItem(`opsfleet.${name}`);
  } catch {
    return memory.get(name) ?? null;
  }
}

export function writePreference(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`opsfleet.${name}`);
    else localStorage.setItem(`opsfleet.${name}`, value);
  } catch {
    if (value === null) memory.delete(name);
    else memory.set(name, value);
  }
}
