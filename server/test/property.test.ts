import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assertProperty } from './property.ts';

describe('a property', () => {
  it('is tried in twelve cases', async () => {
    let cases = 0;
    await assertProperty([fc.nat()], async () => void (cases += 1));
    expect(cases).toBe(12);
  });

  it('that does not hold fails, with what it was tried on', async () => {
    const tried = assertProperty([fc.nat(), fc.constant('x')], async (number, text) => {
      expect(text).toHaveLength(number + 2);
    });
    await expect(tried).rejects.toThrow('Counterexample: [0,"x"]');
  });

  it('leaves no case running that takes longer than there is time', async () => {
    let [begun, ended] = [0, 0];
    const slow = async (): Promise<void> => {
      begun += 1;
      await delay(100);
      ended += 1;
    };
    await expect(assertProperty([fc.nat()], slow, 1)).rejects.toThrow('interrupted after 0 tests');
    expect([begun, ended]).toEqual([1, 1]);
  });
});
