import type { MetricRow, Server } from '@opsfleet/sdk';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useMemo, useState } from 'react';
import { metricsQuery } from '../api.ts';
import { formatInstant, formatMinute } from '../lib/dates.ts';
import { explainReason } from '../lib/reasons.ts';
import { extentOf, rateOf, type Sample, withGaps } from '../lib/series.ts';
import { formatByteRate, formatPercent } from '../lib/units.ts';
import { Button } from '../ui/Button.tsx';
import { Skeleton } from '../ui/Skeleton.tsx';
import { useDelayed } from '../ui/useDelayed.ts';
import type { Line } from './Chart.tsx';
import { ErrorPanel } from './ErrorPanel.tsx';
import { useShortcuts } from './Keys.tsx';
import { NoData } from './NoData.tsx';

const Chart = lazy(async () => ({ default: (await import('./Chart.tsx')).Chart }));

/** The drawing area, in pixels: fixed, so that nothing moves when the data comes. */
const chartHeight = 160;

type Panel = {
  title: string;
  lines: readonly Line[];
  format(value: number | null | undefined): string;
  isPercent: boolean;
};
type Field = 'cpu_percent' | 'memory_percent' | 'disk_percent' | 'network_rx_bytes' | 'network_tx_bytes';

function panelsOf(rows: readonly MetricRow[]): Panel[] {
  const samples = (field: Field): Sample[] =>
    rows.map(row => ({ at: new Date(row.timestamp).getTime(), value: row[field] }));
  const percent = (title: string, field: Field): Panel => ({
    title,
    lines: [{ name: title, samples: withGaps(samples(field)) }],
    format: formatPercent,
    isPercent: true,
  });
  return [
    percent('CPU', 'cpu_percent'),
    percent('Memory', 'memory_percent'),
    percent('Disk', 'disk_percent'),
    {
      title: 'Network',
      lines: [
        { name: 'Received', samples: withGaps(rateOf(samples('network_rx_bytes'))) },
        { name: 'Sent', samples: withGaps(rateOf(samples('network_tx_bytes'))) },
      ],
      format: formatByteRate,
      isPercent: false,
    },
  ];
}

/** CPU, memory, disk and network over the last hour: as charts, or as the same numbers in tables. */
export function MetricCharts({ server }: { server: Server }) {
  const { data: rows, error, isPending, refetch } = useQuery(metricsQuery(server.id));
  const [asTables, setAsTables] = useState(false);
  const showSkeleton = useDelayed(isPending);
  const panels = useMemo(() => (rows === undefined ? null : panelsOf(rows)), [rows]);
  const shortcuts = useMemo(
    () => [{ keys: 'v', does: 'Switch between charts and tables', run: () => setAsTables(shown => !shown) }],
    [],
  );
  useShortcuts(shortcuts);
  return (
    <section aria-labelledby="metrics" className="grid gap-3">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <h2 id="metrics" className="text-lg">
          Last hour
        </h2>
        <Button aria-pressed={asTables} onClick={() => setAsTables(!asTables)}>
          Show as tables
        </Button>
      </div>
      {error === null ? null : (
        <ErrorPanel
          what="The metrics could not be loaded."
          error={error}
          onRetry={() => void refetch()}
          {...(rows === undefined ? {} : { stillShown: 'The charts show what was read before.' })}
        />
      )}
      {rows?.length === 0 ? <NoMetrics server={server} /> : null}
      <div className="grid grid-cols-[minmax(0,1fr)] gap-4 md:grid-cols-2 2xl:grid-cols-4">
        {rows?.length === 0
          ? null
          : panels?.map(panel => <PanelView key={panel.title} panel={panel} asTable={asTables} />)}
        {panels === null && showSkeleton
          ? ['CPU', 'Memory', 'Disk', 'Network'].map(title => (
              <Skeleton key={title} width="100%" height="246px" />
            ))
          : null}
      </div>
    </section>
  );
}

function NoMetrics({ server }: { server: Server }) {
  const { metrics_reason: reason } = server;
  const why =
    reason === null || reason === 'ok' ? 'Metrics are collected once a minute.' : `${explainReason(reason)}.`;
  return <p className="card p-6 text-muted">No metrics in the last hour. {why}</p>;
}

function PanelView({ panel, asTable }: { panel: Panel; asTable: boolean }) {
  const { title, lines, format } = panel;
  return (
    <figure className="card grid min-w-0 grid-cols-[minmax(0,1fr)] content-start gap-2 p-4">
      <figcaption className="min-h-16">
        <h3 className="font-semibold">{title}</h3>
        {lines.map(line => (
          <Extent key={line.name} line={line} format={format} isNamed={lines.length > 1} />
        ))}
      </figcaption>
      {asTable ? (
        <PanelTable panel={panel} />
      ) : (
        <Suspense fallback={<div style={{ height: chartHeight }} />}>
          <Chart lines={lines} height={chartHeight} isPercent={panel.isPercent} format={format} />
        </Suspense>
      )}
    </figure>
  );
}

type ExtentProps = { line: Line; format: Panel['format']; isNamed: boolean };

/** What the line says, in words. */
function Extent({ line, format, isNamed }: ExtentProps) {
  const extent = extentOf(line.samples);
  return (
    <p className="live-value numbers text-sm text-muted">
      {isNamed ? `${line.name} ` : ''}
      {extent === null ? (
        <NoData />
      ) : (
        <>
          <strong className="text-text">{format(extent.latest)}</strong> now, {format(extent.min)} to{' '}
          {format(extent.max)}
        </>
      )}
    </p>
  );
}

function PanelTable({ panel: { title, lines, format } }: { panel: Panel }) {
  const newestFirst = lines[0]!.samples.map((sample, n) => ({ at: sample.at, n })).toReversed();
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
    <section className="relative max-h-40 overflow-y-auto" tabIndex={0} aria-label={`${title}, as a table`}>
      <table className="plain-table numbers">
        <thead>
          <tr>
            <th scope="col">Time</th>
            {lines.map(line => (
              <th key={line.name} scope="col">
                {line.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {newestFirst.map(({ at, n }) => (
            <tr key={at}>
              <td>
                <time dateTime={new Date(at).toISOString()} title={formatInstant(new Date(at))}>
                  {formatMinute(new Date(at))}
                </time>
              </td>
              {lines.map(line => {
                const value = line.samples[n]?.value ?? null;
                return <td key={line.name}>{value === null ? <NoData /> : format(value)}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
