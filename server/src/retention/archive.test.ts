import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRecordCounter } from './archive.ts';

test('records are counted as they are written, whatever is in them, and wherever the text is cut', () => {
  const field = fc.string({ unit: fc.constantFrom('a', '"', '\n', ',', '\r', 'ä'), maxLength: 6 });
  const written = (value: string): string => `"${value.replaceAll('"', '""')}"`;
  fc.assert(
    fc.property(
      fc.array(fc.array(field, { minLength: 1, maxLength: 3 })),
      fc.nat({ max: 50 }),
      (rows, cut) => {
        const bytes = Buffer.from(rows.map(row => `${row.map(written).join(',')}\n`).join(''));
        const counter = createRecordCounter();
        counter.add(bytes.subarray(0, cut));
        counter.add(bytes.subarray(cut));
        expect(counter.count()).toBe(rows.length);
      },
    ),
  );
});
