import type { FleetSummary } from '@opsfleet/sdk';
import type { ServerSearch } from '../pages/server-search.ts';

/** Servers that somebody should look at. */
export const problemsOf = (summary: FleetSummary): number =>
  summary.degraded_servers + summary.critical_servers + summary.unreachable_servers;

export type SummaryPart = { count: number; words: string; search: ServerSearch };

/** What the summary counts, worst first, each with the filter that lists exactly those servers. */
export function summaryParts(summary: FleetSummary): SummaryPart[] {
  const parts: SummaryPart[] = [
    { count: summary.critical_servers, words: 'critical', search: { health: 'critical', status: 'active' } },
    {
      count: summary.unreachable_servers,
      words: 'unreachable',
      search: { health: 'unreachable', status: 'active' },
    },
    { count: summary.degraded_servers, words: 'degraded', search: { health: 'degraded', status: 'active' } },
    { count: summary.unknown_servers, words: 'unknown', search: { health: 'unknown', status: 'active' } },
    { count: summary.maintenance_servers, words: 'in maintenance', search: { status: 'maintenance' } },
    { count: summary.inactive_servers, words: 'inactive', search: { status: 'inactive' } },
  ];
  return parts.filter(part => part.count > 0);
}
