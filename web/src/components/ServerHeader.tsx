import { ApiError, bodyOf, type Server } from '@opsfleet/sdk';
import { useMutation } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { type ReactNode, useState } from 'react';
import { api } from '../api.ts';
import { DeleteServer } from '../forms/DeleteServer.tsx';
import { EditServer } from '../forms/EditServer.tsx';
import { formatDuration, formatInstant } from '../lib/dates.ts';
import { doubtsOf } from '../lib/doubts.ts';
import { explainReason } from '../lib/reasons.ts';
import { formatMilliseconds } from '../lib/units.ts';
import { Button } from '../ui/Button.tsx';
import { useEverySecond } from '../ui/clock.ts';
import { Age } from './Age.tsx';
import { displayState, HealthBadge, isProblem, stateColor, stateWord } from './HealthGlyph.tsx';
import { NoData } from './NoData.tsx';
import { PageTitle } from './PageTitle.tsx';
import { useRefusal } from './session.ts';

/** Who this server is, how it is and why, and what can be done. */
export function ServerHeader({ server }: { server: Server }) {
  const state = displayState(server);
  return (
    <header className="card relative overflow-hidden p-4 sm:p-5">
      {isProblem(state) ? (
        <span
          aria-hidden="true"
          className={`absolute inset-y-0 start-0 w-1 bg-current ${stateColor(state)}`}
        />
      ) : null}
      <div className="flex flex-wrap items-start justify-between gap-3">
        <div className="min-w-0">
          <PageTitle title={isProblem(state) ? `${stateWord(state)}: ${server.name}` : server.name}>
            {server.name}
          </PageTitle>
          {server.description === null ? null : (
            <p className="text-muted wrap-anywhere">{server.description}</p>
          )}
          <div className="live-value mt-2">
            <output className="inline-block text-lg">
              <HealthBadge state={state} />
            </output>{' '}
            <Since since={server.health_since} />
            <p className="text-muted wrap-anywhere">{whyOf(server)}</p>
            <Doubts server={server} />
          </div>
        </div>
        <Actions server={server} />
      </div>
      <Facts server={server} />
    </header>
  );
}

/** Why it is in this state, in plain words, with what the last check said. */
function whyOf(server: Server): string {
  if (
    server.status === 'active' &&
    server.last_health_check_at === null &&
    server.health_reason === 'not_checked'
  ) {
    return 'First check running…';
  }
  const sentence = explainReason(server.health_reason);
  return server.health_detail === null ? `${sentence}.` : `${sentence}: ${server.health_detail}`;
}

/** What keeps that from being firm, each with what it means and since when. */
function Doubts({ server }: { server: Server }) {
  return doubtsOf(server).map(({ word, sentence, since }) => (
    <p key={word} className="mt-1 flex flex-wrap items-center gap-x-2 text-muted">
      <span className="tag">{word}</span>
      <Since since={since} />
      <span>{sentence}</span>
    </p>
  ));
}

function Since({ since }: { since: string }) {
  const text = useEverySecond(now => formatDuration(now.getTime() - new Date(since).getTime()));
  return (
    <span className="numbers text-muted">
      for{' '}
      <time dateTime={since} title={formatInstant(new Date(since))}>
        {text}
      </time>
    </span>
  );
}

function Facts({ server }: { server: Server }) {
  const { region, environment, tags } = server;
  const { health_interval_seconds: health, metrics_interval_seconds: metrics } = server;
  return (
    <dl className="mt-4 grid grid-cols-2 gap-x-6 gap-y-3 sm:grid-cols-3 lg:grid-cols-4 xl:grid-cols-8">
      <Fact name="Address" wide>
        {server.api_url}
      </Fact>
      <Fact name="Region">
        {region === null ? (
          <NoData label="none" />
        ) : (
          <Link to="/servers" search={{ region }} className="link">
            {region}
          </Link>
        )}
      </Fact>
      <Fact name="Environment">
        {environment === null ? (
          <NoData label="none" />
        ) : (
          <Link to="/servers" search={{ environment }} className="link">
            {environment}
          </Link>
        )}
      </Fact>
      <Fact name="Version">{server.version ?? <NoData label="not reported" />}</Fact>
      <Fact name="Last seen">
        <Age at={server.last_seen_at} missing="never" />
      </Fact>
      <Fact name="Response time">
        {server.response_time_ms === null ? <NoData /> : formatMilliseconds(server.response_time_ms)}
      </Fact>
      {health === null && metrics === null ? null : (
        <Fact name="Own intervals" wide>
          {[health === null ? '' : `health ${health} s`, metrics === null ? '' : `metrics ${metrics} s`]
            .filter(Boolean)
            .join(', ')}
        </Fact>
      )}
      <Fact name="Tags">
        {tags.length === 0 ? (
          <NoData label="none" />
        ) : (
          <span className="flex flex-wrap gap-1">
            {tags.map(tag => (
              <Link key={tag} to="/servers" search={{ tag }} className="tag min-h-6 py-0.5 hover:text-text">
                {tag}
              </Link>
            ))}
          </span>
        )}
      </Fact>
    </dl>
  );
}

type FactProps = { name: string; wide?: boolean; children: ReactNode };

const Fact = ({ name, wide = false, children }: FactProps) => (
  <div className={`min-w-0 ${wide ? 'col-span-2' : ''}`}>
    <dt className="eyebrow">{name}</dt>
    <dd className="live-value numbers wrap-anywhere">{children}</dd>
  </div>
);

function Actions({ server }: { server: Server }) {
  const [open, setOpen] = useState<'edit' | 'delete' | null>(null);
  const mayNotCheck = useRefusal('health:check');
  const mayNotWrite = useRefusal('servers:write');
  const notActive = server.status === 'active' ? undefined : 'Only active servers are checked';
  const check = useMutation({
    mutationFn: () =>
      bodyOf(api.POST('/api/v1/fleet/servers/{id}/health-check', { params: { path: { id: server.id } } })),
  });
  const close = (): void => setOpen(null);
  return (
    <div className="grid justify-items-start gap-1 sm:justify-items-end">
      <div className="flex flex-wrap gap-2">
        <Button
          look="primary"
          unavailable={mayNotCheck ?? notActive ?? (check.isPending ? 'A check is running' : undefined)}
          onClick={() => check.mutate()}
        >
          {check.isPending ? 'Checking…' : 'Check now'}
        </Button>
        <Button unavailable={mayNotWrite} onClick={() => setOpen('edit')}>
          Edit
        </Button>
        <Button look="danger" unavailable={mayNotWrite} onClick={() => setOpen('delete')}>
          Delete
        </Button>
      </div>
      <output className="min-h-5 text-sm text-muted">
        {check.data === undefined || check.isPending
          ? ''
          : check.data.status === 'healthy'
            ? `The check found it healthy, in ${formatMilliseconds(check.data.response_time_ms)}.`
            : `The check found: ${explainReason(check.data.reason).toLowerCase()}.`}
        {check.isError ? (check.error instanceof ApiError ? check.error.message : 'The check failed.') : ''}
      </output>
      {open === 'edit' ? <EditServer server={server} onClose={close} /> : null}
      {open === 'delete' ? <DeleteServer server={server} onClose={close} /> : null}
    </div>
  );
}
