import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { familyCpuMs, familyPssBytes, parsePss, parseStat, pssBytes } from './proc.ts';

const STAT =
  '4711 (node (main) x) S 42 4711 4711 0 -1 4194304 9 8 7 6 120 30 5 2 20 0 11 0 99 1000 500 18446744073709551615';

describe('parseStat', () => {
  it('reads parent and CPU times, whatever the program is called', () => {
    expect(parseStat(`${STAT}\n`)).toEqual({ parentPid: 42, ownCpuMs: 1_500, endedChildrenCpuMs: 70 });
  });

  it('refuses text that is something else', () => {
    expect(() => parseStat('4711 (node) S 42')).toThrow('Field 14 of stat is no number');
  });
});

describe('parsePss', () => {
  it('reads the proportional size, and not its parts', () => {
    expect(parsePss('Rss:  900 kB\nPss:  512 kB\nPss_Dirty:  100 kB\n')).toBe(512 * 1024);
  });

  it('refuses text without it', () => {
    expect(() => parsePss('Rss: 900 kB\n')).toThrow('no line "Pss:"');
  });
});

describe('a family of processes', () => {
  it('counts its children while they live and after they have ended', async () => {
    const before = { cpu: await familyCpuMs(process.pid), pss: await pssBytes(process.pid) };
    const burn = 'const end = process.cpuUsage().user + 300_000; while (process.cpuUsage().user < end);';
    const script = `${burn} console.log("burnt"); process.stdin.resume()`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const alive = { cpu: await familyCpuMs(process.pid), pss: await familyPssBytes(process.pid) };
    expect(alive.cpu - before.cpu).toBeGreaterThanOrEqual(290);
    expect(alive.pss).toBeGreaterThan(before.pss);

    child.stdin.end();
    await once(child, 'exit');
    expect(await familyCpuMs(process.pid)).toBeGreaterThanOrEqual(alive.cpu);
  });
});
