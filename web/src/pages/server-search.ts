import type { Server } from '@opsfleet/sdk';

/** The state of the server list, as its address carries it. */
export type ServerSearch = {
  q?: string;
  health?: Server['health_status'];
  status?: Server['status'];
  region?: string;
  environment?: string;
  tag?: string;
  sort?: 'newest';
};

export const healthNames = [
  'healthy',
  'degraded',
  'critical',
  'unreachable',
  'unknown',
] as const satisfies readonly Server['health_status'][];
export const statusNames = [
  'active',
  'maintenance',
  'inactive',
] as const satisfies readonly Server['status'][];

/** What the API takes of each. */
const maxLengths = { q: 200, region: 100, environment: 50, tag: 64 } as const;

/** Reads an address. What it does not know or cannot use is left out: a link never fails for its filters. */
export function readServerSearch(raw: Record<string, unknown>): ServerSearch {
  const search: ServerSearch = {};
  for (const [name, maxLength] of Object.entries(maxLengths) as [keyof typeof maxLengths, number][]) {
    const text = raw[name];
    if (typeof text === 'string' && text.trim() !== '') search[name] = text.trim().slice(0, maxLength);
  }
  const health = healthNames.find(name => name === raw['health']);
  const status = statusNames.find(name => name === raw['status']);
  if (health !== undefined) search.health = health;
  if (status !== undefined) search.status = status;
  if (raw['sort'] === 'newest') search.sort = 'newest';
  return search;
}

/** What people call the filters. */
export const filterLabels = {
  q: 'Search',
  health: 'Health',
  status: 'Status',
  region: 'Region',
  environment: 'Environment',
  tag: 'Tag',
};
export type FilterName = keyof typeof filterLabels;

export type ActiveFilter = { name: FilterName; label: string; value: string };

/** The filters that are set, in the order they are shown. Sorting is none. */
export const activeFilters = (search: ServerSearch): ActiveFilter[] =>
  (Object.keys(filterLabels) as FilterName[]).flatMap(name => {
    const value = search[name];
    return value === undefined ? [] : [{ name, label: filterLabels[name], value }];
  });
