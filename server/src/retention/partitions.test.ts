import { expect, test } from 'vitest';
import {
  intervalsAhead,
  mayHavePartition,
  ofAnotherLength,
  type PartitionInterval,
  partitionOf,
  type Span,
  uncovered,
  wantedPartitions,
} from './partitions.ts';
import { defaultRetention } from './retention.ts';

const day = (date: string): Date => new Date(`${date}T00:00:00Z`);
const span = (from: string, to: string): Span => ({ from: day(from), to: day(to) });

test('a partition is a month in UTC, whatever the zone of the machine', () => {
  expect(partitionOf('events', new Date('2026-11-24T08:00:00+14:00'), 'month')).toEqual({
    table: 'events',
    name: 'events_2026_11',
    from: new Date('2026-11-01T00:00:00Z'),
    to: new Date('2026-12-01T00:00:00Z'),
  });
});

test('a month ends where the next begins', () => {
  expect(partitionOf('events', new Date('2026-12-31T23:59:59.999Z'), 'month').name).toBe('events_2026_12');
  expect(partitionOf('events', new Date('2027-01-01T00:00:00.000Z'), 'month').name).toBe('events_2027_01');
  expect(partitionOf('events', new Date('2028-02-29T12:00:00Z'), 'month')).toMatchObject({
    name: 'events_2028_02',
    to: new Date('2028-03-01T00:00:00Z'),
  });
});

test('the current month and the next three are wanted, without a gap, over the turn of the year', () => {
  const wanted = wantedPartitions('server_health_checks', new Date('2026-11-30T23:59:50Z'), 'month');
  expect(wanted.map(partition => partition.name)).toEqual([
    'server_health_checks_2026_11',
    'server_health_checks_2026_12',
    'server_health_checks_2027_01',
    'server_health_checks_2027_02',
  ]);
  for (const [index, partition] of wanted.slice(1).entries())
    expect(partition.from).toEqual(wanted[index]!.to);
});

test('a week begins on Monday, also over the turn of the year; a day is a day', () => {
  // 31 December 2026 is a Thursday.
  expect(partitionOf('events', new Date('2026-12-31T23:59:59Z'), 'week')).toEqual({
    table: 'events',
    name: 'events_2026_12_28',
    ...span('2026-12-28', '2027-01-04'),
  });
  expect(partitionOf('events', day('2026-12-28'), 'week').name).toBe('events_2026_12_28');
  expect(partitionOf('events', new Date('2026-12-27T23:59:59Z'), 'week').name).toBe('events_2026_12_21');
  expect(partitionOf('events', new Date('2028-02-29T12:00:00Z'), 'day')).toEqual({
    table: 'events',
    name: 'events_2028_02_29',
    ...span('2028-02-29', '2028-03-01'),
  });
});

test.each([
  ['month', 4],
  ['week', 4],
  ['day', 9],
] satisfies [PartitionInterval, number][])('of %ss, %i are wanted', (interval, count) => {
  const wanted = wantedPartitions('events', day('2026-12-30'), interval);
  expect(wanted).toHaveLength(count);
  for (const [index, partition] of wanted.slice(1).entries())
    expect(partition.from).toEqual(wanted[index]!.to);
});

test('what is uncovered of a partition: all, nothing, or rests named by their first day', () => {
  const december = partitionOf('events', day('2026-12-01'), 'month');
  expect(uncovered(december, [])).toEqual([december]);
  expect(uncovered(december, [span('2026-11-01', '2026-12-01'), span('2027-01-01', '2027-02-01')])).toEqual([
    december,
  ]);
  expect(uncovered(december, [span('2026-11-30', '2027-01-04')])).toEqual([]);
  expect(uncovered(december, [span('2026-12-10', '2026-12-11'), span('2026-11-30', '2026-12-07')])).toEqual([
    { table: 'events', name: 'events_2026_12_07', ...span('2026-12-07', '2026-12-10') },
    { table: 'events', name: 'events_2026_12_11', ...span('2026-12-11', '2027-01-01') },
  ]);
});

test('of another length is what lies ahead, in the time that is wanted, and is none of the wanted', () => {
  const days = wantedPartitions('events', day('2026-12-30'), 'day');
  const january = span('2027-01-01', '2027-02-01');
  const existing = [span('2026-12-01', '2027-01-01'), january, span('2027-02-01', '2027-03-01'), days[2]!];
  expect(ofAnotherLength(days, existing, day('2026-12-30'))).toEqual([january]);
});

test('intervals ahead are counted up to the first gap, whatever their partitions are', () => {
  const now = new Date('2026-11-28T12:00:00Z');
  const months = [
    span('2026-11-01', '2026-12-01'),
    span('2026-12-01', '2027-01-01'),
    span('2027-02-01', '2027-03-01'),
  ];
  expect(intervalsAhead(now, 'month', months)).toBe(1);
  expect(intervalsAhead(now, 'day', months)).toBe(33);
  expect(intervalsAhead(now, 'month', [])).toBe(0);
  expect(intervalsAhead(now, 'month', months.slice(1))).toBe(0);
  expect(
    intervalsAhead(now, 'week', [span('2026-11-01', '2026-11-29'), span('2026-11-29', '2026-12-10')]),
  ).toBe(1);
});

test.each([
  ['month', '2026-11-24T12:00:00Z', '2026-10-31T23:59:59Z', true],
  // Until its last row is 30 days old.
  ['month', '2026-11-30T23:59:59Z', '2026-10-01T00:00:00Z', true],
  ['month', '2026-12-01T00:00:00Z', '2026-10-31T23:59:59Z', false],
  ['day', '2026-11-24T12:00:00Z', '2026-10-25T00:00:00Z', true],
  ['day', '2026-11-24T12:00:00Z', '2026-10-24T23:59:59Z', false],
  ['month', '2026-11-24T12:00:00Z', '2026-12-24T12:00:00Z', true],
  ['month', '2026-11-24T12:00:00Z', '2026-12-24T12:00:01Z', false],
  // A month after 31 January is the last of February, in a leap year the 29th.
  ['month', '2027-01-31T00:00:00Z', '2027-02-28T00:00:00Z', true],
  ['month', '2027-01-31T00:00:00Z', '2027-03-01T00:00:00Z', false],
  ['month', '2028-01-31T00:00:00Z', '2028-02-29T00:00:00Z', true],
  ['month', '2028-01-31T00:00:00Z', '2028-03-01T00:00:00Z', false],
  ['month', '2026-11-24T12:00:00Z', '1970-01-01T00:00:00Z', false],
  ['month', '2026-11-24T12:00:00Z', 'not a time', false],
] as const)(
  'with partitions of a %s, at %s a check of %s may have one made for it: %s',
  (interval, now, instant, expected) => {
    const policy = { interval, retention: defaultRetention };
    expect(mayHavePartition('server_health_checks', new Date(instant), new Date(now), policy)).toBe(expected);
  },
);
