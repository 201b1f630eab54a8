import { describe, expect, it } from 'vitest';
import { slotCount } from '../servers/server.ts';
import { fairShare } from './slots.ts';

describe('the fair share', () => {
  it('gives every slot to exactly one of the workers, and to none more than one slot above another', () => {
    for (let workers = 1; workers <= slotCount + 1; workers += 1) {
      const shares = Array.from({ length: workers }, (_, rank) => fairShare(workers, rank));
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(slotCount);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }
  });
});
