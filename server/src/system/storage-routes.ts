import { Type } from 'typebox';
import { ok, type Route, route } from '../platform/http/route.ts';
import { partitionedTables, partitionIntervals } from '../retention/partitions.ts';
import { retentionDays } from '../retention/retention.ts';
import { storageOf } from '../retention/storage.ts';

const Instant = Type.String({ format: 'date-time' });
const Bytes = Type.Integer({ description: 'On disk, with indexes.' });

const Partition = Type.Object(
  {
    name: Type.String(),
    from: Instant,
    to: Type.String({ format: 'date-time', description: 'Rows of this instant are in the next one.' }),
    bytes: Bytes,
    rows: Type.Union([Type.Integer(), Type.Null()], {
      description: 'As PostgreSQL last estimated; null where it never has.',
    }),
  },
  { additionalProperties: false },
);

const Table = Type.Object(
  {
    table: Type.String({ enum: [...partitionedTables] }),
    intervals_ahead: Type.Integer({
      description: 'Whole intervals after the current one whose rows have their place already.',
    }),
    retention_days: Type.Integer({
      description: 'For so long rows are kept; they go with the last of their partition.',
    }),
    bytes: Bytes,
    partitions: Type.Array(Partition, { description: 'Oldest first.' }),
  },
  { additionalProperties: false },
);

export const storageRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/storage',
    tag: 'System',
    summary: 'What the history takes on disk, and for how long its place is prepared',
    description: 'Of the whole installation, by table and partition.',
    permission: 'workers:read',
    replies: {
      200: Type.Object(
        {
          partition_interval: Type.String({ enum: [...partitionIntervals] }),
          tables: Type.Array(Table),
          timestamp: Instant,
        },
        { title: 'Storage', additionalProperties: false },
      ),
    },
    async handler({ db, clock, settings }) {
      const now = clock.now();
      const interval = settings.partitionInterval;
      const tables = await storageOf(db.system, { now, interval });
      return ok({
        partition_interval: interval,
        tables: tables.map(({ intervalsAhead, ...table }) => ({
          ...table,
          intervals_ahead: intervalsAhead,
          retention_days: retentionDays(table.table, settings.retention),
        })),
        timestamp: now,
      });
    },
  }),
];
