import { expect, test } from 'vitest';
import { mayHavePartition, partitionOf, wantedPartitions } from './partitions.ts';

test('a partition is a month in UTC, whatever the zone of the machine', () => {
  expect(partitionOf('events', new Date('2026-11-24T08:00:00+14:00'))).toEqual({
    table: 'events',
    name: 'events_2026_11',
    from: new Date('2026-11-01T00:00:00Z'),
    to: new Date('2026-12-01T00:00:00Z'),
  });
});

test('a month ends where the next begins', () => {
  expect(partitionOf('events', new Date('2026-12-31T23:59:59.999Z')).name).toBe('events_2026_12');
  expect(partitionOf('events', new Date('2027-01-01T00:00:00.000Z')).name).toBe('events_2027_01');
  expect(partitionOf('events', new Date('2028-02-29T12:00:00Z'))).toMatchObject({
    name: 'events_2028_02',
    to: new Date('2028-03-01T00:00:00Z'),
  });
});

test('the current month and the next three are wanted, without a gap, over the turn of the year', () => {
  const wanted = wantedPartitions('server_health_checks', new Date('2026-11-30T23:59:50Z'));
  expect(wanted.map(partition => partition.name)).toEqual([
    'server_health_checks_2026_11',
    'server_health_checks_2026_12',
    'server_health_checks_2027_01',
    'server_health_checks_2027_02',
  ]);
  for (const [index, partition] of wanted.slice(1).entries())
    expect(partition.from).toEqual(wanted[index]!.to);
});

test.each([
  ['2026-11-24T12:00:00Z', '2025-10-24T12:00:00Z', true],
  ['2026-11-24T12:00:00Z', '2025-10-24T11:59:59Z', false],
  ['2026-11-24T12:00:00Z', '2026-12-24T12:00:00Z', true],
  ['2026-11-24T12:00:00Z', '2026-12-24T12:00:01Z', false],
  // A month after 31 January is the last of February, in a leap year the 29th.
  ['2027-01-31T00:00:00Z', '2027-02-28T00:00:00Z', true],
  ['2027-01-31T00:00:00Z', '2027-03-01T00:00:00Z', false],
  ['2028-01-31T00:00:00Z', '2028-02-29T00:00:00Z', true],
  ['2028-01-31T00:00:00Z', '2028-03-01T00:00:00Z', false],
  // Thirteen months before 29 February of a leap year.
  ['2028-02-29T00:00:00Z', '2027-01-29T00:00:00Z', true],
  ['2028-02-29T00:00:00Z', '2027-01-28T00:00:00Z', false],
  ['2026-11-24T12:00:00Z', '1970-01-01T00:00:00Z', false],
  ['2026-11-24T12:00:00Z', 'not a time', false],
])('at %s a row of %s may have a partition made for it: %s', (now, instant, expected) => {
  expect(mayHavePartition(new Date(instant), new Date(now))).toBe(expected);
});
