import { Type } from 'typebox';
import { endOfFeed } from '../events/store.ts';
import { parseId, type ServerId } from '../ids.ts';
import { AppError } from '../platform/errors.ts';
import { invalidField } from '../platform/http/errors.ts';
import { type Route, route } from '../platform/http/route.ts';
import { streamEvents } from './stream.ts';

const maxWatched = 200;
const maxStreams = 1_000;

/** Streams open in this process; a limit, because each asks the database once a second. */
let open = 0;

export const liveRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/events',
    tag: 'Live',
    summary: 'Follow the fleet live (server-sent events)',
    description:
      'Every event of the organization, in order, each with its position as id; a client that reconnects with ' +
      'Last-Event-ID misses nothing. `tick` carries the newest state of the watched servers, at most once a ' +
      'second. `resync` says: read everything again, then go on. The stream ends after ten minutes; reconnect.',
    permission: 'fleet:read',
    query: Type.Object(
      {
        watch: Type.Optional(
          Type.String({ maxLength: 10_000, description: `Up to ${maxWatched} server ids, comma separated.` }),
        ),
      },
      { additionalProperties: false },
    ),
    replies: { 200: Type.String({ contentMediaType: 'text/event-stream', description: 'The stream.' }) },
    async handler(context, { query, headers }, { db }) {
      const watch = (query.watch ?? '')
        .split(',')
        .filter(Boolean)
        .map(text => parseId<ServerId>(text.trim()));
      if (watch.length > maxWatched)
        throw invalidField('/query/watch', `names more than ${maxWatched} servers`);
      if (open >= maxStreams) {
        throw new AppError('unavailable', 'Too many live streams are open here.', { retryAfterSeconds: 30 });
      }
      // While a status can still be sent: a stream that cannot begin should not look like one that has ended.
      await endOfFeed(context.db.system);
      const lastEventId = headers['last-event-id'];
      return {
        stream: ({ response, signal }) => {
          open += 1;
          context.instruments.streams.set(open);
          void streamEvents({
            system: context.db.system,
            db,
            feed: context.feed,
            clock: context.clock,
            log: context.log,
            response,
            signal: AbortSignal.any([signal, context.stopping]),
            lastEventId: typeof lastEventId === 'string' && lastEventId !== '' ? lastEventId : null,
            // An id that could not exist is watched like one that does not: in vain.
            watch: watch.filter(id => id !== null),
          }).finally(() => {
            open -= 1;
            context.instruments.streams.set(open);
          });
        },
      };
    },
  }),
];
