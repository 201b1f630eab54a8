import type { Server } from '@opsfleet/sdk';
import { Link } from '@tanstack/react-router';
import { memo } from 'react';
import { doubtsOf } from '../lib/doubts.ts';
import { explainReason } from '../lib/reasons.ts';
import { formatMilliseconds } from '../lib/units.ts';
import { useLatest } from '../live.ts';
import { Skeleton } from '../ui/Skeleton.tsx';
import { Age } from './Age.tsx';
import { displayState, HealthBadge, isProblem } from './HealthGlyph.tsx';
import { NoData } from './NoData.tsx';
import { Percent } from './Percent.tsx';

// Less room shows fewer columns; the server's own page has them all.
const columns = [
  { name: 'Status', className: 'w-[24%] lg:w-[22%]' },
  { name: 'Name', className: '' },
  { name: 'Region, environment', className: 'w-[14%] max-xl:hidden' },
  { name: 'CPU', className: 'w-[9%]' },
  { name: 'Memory', className: 'w-[9%]' },
  { name: 'Disk', className: 'w-[9%] max-md:hidden' },
  { name: 'Response', className: 'w-[9%] max-lg:hidden' },
  { name: 'Last check', className: 'w-[15%] lg:w-[11%]' },
] as const;

export const ServerHead = () => (
  <thead>
    <tr aria-rowindex={1}>
      {columns.map(({ name, className }) => (
        <th key={name} scope="col" className={className}>
          {name}
        </th>
      ))}
    </tr>
  </thead>
);

/** One server. It draws itself anew when the stream tells of it, and no other row does. */
export const ServerRow = memo(function ServerRow({
  server: known,
  rowIndex,
}: {
  server: Server;
  rowIndex: number;
}) {
  const { server, isDeleted } = useLatest(known);
  const metrics = server.latest_metrics;
  return (
    <tr
      aria-rowindex={rowIndex}
      data-server={server.id}
      className={isDeleted ? 'text-muted line-through' : ''}
    >
      <td className="live-value">
        <Status server={server} isDeleted={isDeleted} />
      </td>
      <td>
        <Link
          to="/servers/$id"
          params={{ id: server.id }}
          className="row-link block truncate font-medium"
          title={server.name}
        >
          {server.name}
        </Link>
        <Tags tags={server.tags} />
      </td>
      <td className={columns[2].className}>
        <span className="block truncate">{server.region ?? <NoData label="no region" />}</span>
        <span className="block truncate text-xs text-muted">{server.environment ?? ''}</span>
      </td>
      <td>
        <Percent value={metrics?.cpu_percent} />
      </td>
      <td>
        <Percent value={metrics?.memory_percent} />
      </td>
      <td className={columns[5].className}>
        <Percent value={metrics?.disk_percent} />
      </td>
      <td className={`live-value numbers ${columns[6].className}`}>
        {server.response_time_ms === null ? <NoData /> : formatMilliseconds(server.response_time_ms)}
      </td>
      <td className="text-muted">
        <Age at={server.last_health_check_at} missing="not checked yet" />
      </td>
    </tr>
  );
});

/** State, how firm it is where it is not, and below it why, where that is worth a line. */
export function Status({ server, isDeleted }: { server: Server; isDeleted: boolean }) {
  const state = displayState(server);
  const why = isDeleted
    ? 'Deleted'
    : isProblem(state) || state === 'unknown'
      ? (server.health_detail ?? explainReason(server.health_reason))
      : null;
  const doubt = isDeleted ? undefined : doubtsOf(server)[0];
  return (
    <>
      <span className="flex min-w-0 items-center gap-1.5">
        <HealthBadge state={state} />
        {doubt === undefined ? null : (
          <span className="tag min-w-0 truncate" title={doubt.sentence}>
            {doubt.word}
          </span>
        )}
      </span>
      {why === null ? null : (
        <span className="block truncate text-xs text-muted" title={why}>
          {why}
        </span>
      )}
    </>
  );
}

const shownTags = 2;

export function Tags({ tags }: { tags: readonly string[] }) {
  if (tags.length === 0) return null;
  const rest = tags.length - shownTags;
  return (
    <span className="flex gap-1 overflow-hidden">
      {tags.slice(0, shownTags).map(tag => (
        <span key={tag} className="tag">
          {tag}
        </span>
      ))}
      {rest > 0 ? (
        <span className="tag shrink-0" title={tags.slice(shownTags).join(', ')}>
          +{rest}
        </span>
      ) : null}
    </span>
  );
}

export const SkeletonRow = () => (
  <tr>
    {columns.map(({ name, className }, n) => (
      <td key={name} className={className}>
        <Skeleton width={n < 3 ? '70%' : '50%'} />
      </td>
    ))}
  </tr>
);
