import type { Server } from '@opsfleet/sdk';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { isNotFound, serverQuery } from '../api.ts';
import { Components } from '../components/Components.tsx';
import { ErrorPanel } from '../components/ErrorPanel.tsx';
import { HealthHistory } from '../components/HealthHistory.tsx';
import { MetricCharts } from '../components/MetricCharts.tsx';
import { PageTitle } from '../components/PageTitle.tsx';
import { PanelBoundary } from '../components/PanelBoundary.tsx';
import { ServerHeader } from '../components/ServerHeader.tsx';
import { useLatest, useWatch } from '../live.ts';
import { Skeleton } from '../ui/Skeleton.tsx';
import { useDelayed } from '../ui/useDelayed.ts';

const route = getRouteApi('/signed-in/servers/$id');

/** One server: how it is and why, what it is made of, and its last hour, live. */
export function ServerPage() {
  const { id } = route.useParams();
  const { data: server, error, isPending, refetch } = useQuery(serverQuery(id));
  useWatch(id);
  return (
    <div className="mx-auto grid max-w-[1400px] grid-cols-[minmax(0,1fr)] gap-4">
      <nav aria-label="Breadcrumb">
        <Link to="/servers" className="link inline-flex min-h-6 items-center">
          Servers
        </Link>
      </nav>
      {server !== undefined ? (
        <Found key={id} server={server} error={error} retry={() => void refetch()} />
      ) : null}
      {server === undefined && isPending ? <Loading /> : null}
      {server === undefined && error !== null ? <Missing error={error} retry={() => void refetch()} /> : null}
    </div>
  );
}

type Retry = { error: Error | null; retry(): void };

function Found({ server: known, error, retry }: Retry & { server: Server }) {
  const { server, isDeleted } = useLatest(known);
  useRefreshOnNews(server);
  if (isDeleted) return <Tombstone name={server.name} />;
  return (
    <>
      <ServerHeader server={server} />
      {error === null ? null : (
        <ErrorPanel
          what="The server could not be read again."
          error={error}
          onRetry={retry}
          stillShown="What you see was read before."
        />
      )}
      <PanelBoundary what="Metrics">
        <MetricCharts server={server} />
      </PanelBoundary>
      <div className="grid grid-cols-[minmax(0,1fr)] gap-4 lg:grid-cols-2">
        <PanelBoundary what="Health history">
          <HealthHistory server={server} />
        </PanelBoundary>
        <PanelBoundary what="Components">
          <Components server={server} />
        </PanelBoundary>
      </div>
    </>
  );
}

/** Reads again what the stream does not carry, whenever it tells of a new check or new metrics. */
function useRefreshOnNews({
  id,
  last_health_check_at: checkedAt,
  last_metrics_at: measuredAt,
}: Server): void {
  const queries = useQueryClient();
  const seen = useRef({ checkedAt, measuredAt });
  useEffect(() => {
    if (seen.current.checkedAt !== checkedAt) {
      void queries.invalidateQueries({ queryKey: ['server', id], exact: true });
      void queries.invalidateQueries({ queryKey: ['server', id, 'health-history'] });
    }
    if (seen.current.measuredAt !== measuredAt)
      void queries.invalidateQueries({ queryKey: ['server', id, 'metrics'] });
    seen.current = { checkedAt, measuredAt };
  }, [queries, id, checkedAt, measuredAt]);
}

function Loading() {
  const isLate = useDelayed(true);
  return (
    <>
      <PageTitle title="Server">{isLate ? 'Loading the server…' : ' '}</PageTitle>
      {isLate ? (
        <div className="grid gap-4" aria-hidden="true">
          <Skeleton width="100%" height="120px" />
          <Skeleton width="100%" height="420px" />
        </div>
      ) : null}
    </>
  );
}

function Missing({ error, retry }: { error: Error; retry(): void }) {
  if (isNotFound(error)) {
    return (
      <section className="card grid gap-3 p-8">
        <PageTitle title="No such server">There is no such server</PageTitle>
        <p className="text-muted">It may have been deleted, or it belongs to another organization.</p>
        <p>
          <Link to="/servers" className="button">
            Go to the servers
          </Link>
        </p>
      </section>
    );
  }
  return (
    <>
      <PageTitle title="Server">Server</PageTitle>
      <ErrorPanel what="The server could not be loaded." error={error} onRetry={retry} />
    </>
  );
}

const Tombstone = ({ name }: { name: string }) => (
  <section className="card grid gap-3 p-8">
    <PageTitle title={`${name} was deleted`}>{name} was deleted</PageTitle>
    <p className="text-muted">Somebody deleted it just now, with its whole history.</p>
    <p>
      <Link to="/servers" className="button">
        Go to the servers
      </Link>
    </p>
  </section>
);
