import type { Server } from '@opsfleet/sdk';
import { Link } from '@tanstack/react-router';
import { memo } from 'react';
import { useLatest } from '../live.ts';
import { Skeleton } from '../ui/Skeleton.tsx';
import { Age } from './Age.tsx';
import { Percent } from './Percent.tsx';
import { Status } from './ServerRow.tsx';

type Props = { server: Server; position: number; total: number };

const frame = 'relative h-[148px] overflow-hidden pb-2';

/** One server on a narrow screen: its state and name, three numbers, and when it was asked. */
export const ServerCard = memo(function ServerCard({ server: known, position, total }: Props) {
  const { server, isDeleted } = useLatest(known);
  const metrics = server.latest_metrics;
  return (
    <li className={frame} aria-posinset={position} aria-setsize={total} data-server={server.id}>
      <div className="card grid h-full content-between p-3">
        <div className="flex items-start justify-between gap-3">
          <div className="min-w-0">
            <Link
              to="/servers/$id"
              params={{ id: server.id }}
              className={`row-link block truncate font-medium ${isDeleted ? 'line-through' : ''}`}
            >
              {server.name}
            </Link>
            <div className="live-value">
              <Status server={server} isDeleted={isDeleted} />
            </div>
          </div>
          <span className="shrink-0 text-xs text-muted">
            <Age at={server.last_health_check_at} missing="not checked yet" />
          </span>
        </div>
        <dl className="grid grid-cols-3 gap-3">
          <Number name="CPU" value={metrics?.cpu_percent} />
          <Number name="Memory" value={metrics?.memory_percent} />
          <Number name="Disk" value={metrics?.disk_percent} />
        </dl>
      </div>
    </li>
  );
});

const Number = ({ name, value }: { name: string; value: number | undefined }) => (
  <div>
    <dt className="eyebrow">{name}</dt>
    <dd>
      <Percent value={value} />
    </dd>
  </div>
);

export const SkeletonCard = () => (
  <li className={frame}>
    <div className="card grid h-full content-between p-3">
      <Skeleton width="60%" />
      <Skeleton width="40%" />
      <Skeleton width="90%" />
    </div>
  </li>
);
