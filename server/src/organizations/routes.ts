import { Type } from 'typebox';
import { append } from '../events/outbox.ts';
import { ok, type Reply, type Route, route } from '../platform/http/route.ts';
import { Instant, nullable } from '../platform/http/schemas.ts';
import { fewestDays, type Retention } from '../retention/retention.ts';
import {
  checkOwnRetention,
  type HistoryName,
  historyNames,
  horizonsOf,
  type OwnRetention,
  retentionWithin,
} from './retention.ts';
import { ownRetentionOf, setOwnRetention } from './store.ts';

const what: Readonly<Record<HistoryName, string>> = {
  checks: 'each health check',
  metrics: 'each collection of metrics',
  '5m': 'sums of five minutes, of checks and of metrics',
  '15m': 'sums of a quarter of an hour',
  '1h': 'sums of an hour',
  '1d': 'sums of a day',
};

const Kept = (description: string) =>
  Type.Object(
    {
      days: Type.Integer({ description: 'For so many whole days it is told, and the one that has begun.' }),
      own_days: nullable(Type.Integer({ description: 'What the organization chose; null: nothing.' })),
      limit_days: Type.Integer({ description: 'For so many the installation keeps it.' }),
      kept_from: Instant,
    },
    { additionalProperties: false, description },
  );

const RetentionReply = Type.Object(
  {
    retention: Type.Object(Object.fromEntries(historyNames.map(name => [name, Kept(what[name])])), {
      additionalProperties: false,
    }),
  },
  { title: 'Retention', additionalProperties: false },
);

const Days = (name: HistoryName) =>
  Type.Optional(Type.Integer({ minimum: fewestDays, description: what[name] }));
const OwnDays = Type.Object(
  {
    checks: Days('checks'),
    metrics: Days('metrics'),
    '5m': Days('5m'),
    '15m': Days('15m'),
    '1h': Days('1h'),
    '1d': Days('1d'),
  },
  { title: 'OwnRetention', additionalProperties: false },
);

export const retentionRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/retention',
    tag: 'System',
    summary: 'For how long the history of the organization is kept',
    permission: 'fleet:read',
    replies: { 200: RetentionReply },
    async handler({ clock, settings }, _input, { db }) {
      return retentionReply(await ownRetentionOf(db), settings.retention, clock.now());
    },
  }),
  route({
    method: 'PUT',
    path: '/api/v1/fleet/retention',
    tag: 'System',
    summary: 'Have less history told than the installation keeps',
    description:
      'In days; what is left out is told for as long as the installation keeps it. From now on nothing older is told by ' +
      'any route, to anybody. It is deleted when the installation drops its partition, with that of all others: until ' +
      'then, more days bring it back.',
    permission: 'organization:manage',
    body: OwnDays,
    replies: { 200: RetentionReply },
    async handler({ clock, settings, feed }, { body }, { db }) {
      const at = clock.now();
      checkOwnRetention(body, settings.retention);
      await db.transaction(async tx => {
        await setOwnRetention(tx, body, at);
        await append(tx, at, [
          { type: 'organization.retention_changed', subject: db.organizationId, data: { days: body } },
        ]);
      });
      feed.announce();
      return retentionReply(body, settings.retention, at);
    },
  }),
];

function retentionReply(own: OwnRetention, limits: Retention, now: Date): Reply {
  const [days, horizons] = [retentionWithin(limits, own), horizonsOf(limits, own, now)];
  const kept = historyNames.map(name => [
    name,
    {
      days: days[name],
      own_days: own[name] ?? null,
      limit_days: limits[name],
      kept_from: horizons[name].keptFrom,
    },
  ]);
  return ok({ retention: Object.fromEntries(kept) });
}
