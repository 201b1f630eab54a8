import { describe, expect, test } from 'vitest';
import { activeFilters, readServerSearch } from './server-search.ts';

describe('reading an address', () => {
  test('takes what the list can be filtered and sorted by', () => {
    const search = {
      q: 'web',
      health: 'critical',
      status: 'active',
      region: 'eu',
      environment: 'prod',
      tag: 'db',
      sort: 'newest',
    };
    expect(readServerSearch(search)).toEqual(search);
  });

  test('leaves out the unknown, the empty and the impossible', () => {
    expect(
      readServerSearch({ health: 'fine', status: 7, q: '  ', page: '3', sort: 'cpu', region: ['eu'] }),
    ).toEqual({});
  });

  test('cuts a text to what the API takes', () => {
    expect(readServerSearch({ q: 'x'.repeat(300) }).q).toHaveLength(200);
  });
});

test('active filters are named, sorting is not one', () => {
  expect(activeFilters({ health: 'critical', q: 'web', sort: 'newest' })).toEqual([
    { name: 'q', label: 'Search', value: 'web' },
    { name: 'health', label: 'Health', value: 'critical' },
  ]);
});
