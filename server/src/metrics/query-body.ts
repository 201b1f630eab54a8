import { type Static, Type } from 'typebox';
import { ServerSelectionBody } from '../groups/selection.ts';
import { KeptFrom } from '../organizations/kept-from.ts';
import { invalidField } from '../platform/http/errors.ts';
import { FormatName } from '../platform/http/export.ts';
import { nullable, oneOf } from '../platform/http/schemas.ts';
import { timeRangeQuery } from '../platform/http/time-range.ts';
import { type MetricField, metricFields, type Period, periods } from './metric.ts';
import {
  type Across,
  type AnswerForm,
  acrossFunctions,
  answerForms,
  type MetricValue,
  metricValues,
} from './query.ts';

/** The period that is asked for; `auto` has it chosen. */
export const PeriodName = (description: string) =>
  oneOf<Period | 'auto'>([...periods, 'auto'], { description });

const AcrossList = (description: string) =>
  Type.Optional(
    Type.Array(oneOf<Across>(acrossFunctions), {
      minItems: 1,
      maxItems: acrossFunctions.length,
      uniqueItems: true,
      description,
    }),
  );

const maxServers = 1_000;
export const defaultServers = 50;
export const defaultPoints: Readonly<Record<AnswerForm, number>> = { server: 500, fleet: 500, total: 50 };
const maxTop = 100;
const defaultTop = 10;

export const MetricQueryBody = Type.Object(
  {
    servers: Type.Optional(ServerSelectionBody),
    field: oneOf(Object.keys(metricFields) as MetricField[]),
    value: Type.Optional(
      oneOf<MetricValue>(metricValues, {
        description:
          'Of what goes up and down avg (the default: the mean of all that was collected in the period), min, max or ' +
          'last; of what only grows rate (the default), increase or last.',
      }),
    ),
    by: Type.Optional(
      oneOf<AnswerForm>(answerForms, {
        description:
          'server (the default): a series for each server. fleet: one over all of them. total: one value for each ' +
          'server, over the whole range.',
      }),
    ),
    ...timeRangeQuery,
    period: Type.Optional(
      PeriodName(
        'Default auto: the shortest of which the range has at most `points`, and that of so many servers is not too much to read.',
      ),
    ),
    points: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 10_000,
        description: 'With period=auto alone. Default 500, with by=total 50.',
      }),
    ),
    across: AcrossList(
      'With by=fleet (default avg) and total: what the values of the servers come to, each server counting once.',
    ),
    across_periods: AcrossList(
      'With by=total: the same of every value of every server and period in the range.',
    ),
    top: Type.Optional(
      Type.Object(
        {
          count: Type.Optional(
            Type.Integer({ minimum: 1, maximum: maxTop, description: `Default ${defaultTop}.` }),
          ),
          order: Type.Optional(
            oneOf<'desc' | 'asc'>(['desc', 'asc'], { description: 'Default desc: the highest.' }),
          ),
        },
        {
          title: 'MetricTop',
          additionalProperties: false,
          description:
            'With by=total: of all servers those with the highest or lowest values, instead of a page by name.',
        },
      ),
    ),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: maxServers,
        description: `Servers on a page, by name, with by=server and total. Default ${defaultServers}.`,
      }),
    ),
    cursor: Type.Optional(Type.String({ maxLength: 1_000, description: 'next_cursor of the page before.' })),
  },
  { title: 'MetricQuery', additionalProperties: false },
);
export type MetricQueryBody = Static<typeof MetricQueryBody>;

const {
  limit: _limit,
  cursor: _cursor,
  across_periods: _acrossPeriods,
  ...exported
} = MetricQueryBody.properties;

/** The same of all servers at once, as a file; what has no place in its lines is left out. */
export const MetricExportBody = Type.Object(
  {
    ...exported,
    across: AcrossList(
      'With by=fleet alone (default avg): what the values of the servers come to, each server counting once.',
    ),
    format: FormatName,
  },
  { title: 'MetricExport', additionalProperties: false },
);

/** Which parts of a body go with which forms of answer. */
const goesWith: { readonly [Name in keyof MetricQueryBody]?: readonly AnswerForm[] } = {
  across: ['fleet', 'total'],
  across_periods: ['total'],
  top: ['total'],
  limit: ['server', 'total'],
  cursor: ['server', 'total'],
};

/** Refuses what does not go together. */
export function checkTogether(body: MetricQueryBody): void {
  const { by = 'server' } = body;
  for (const [name, forms] of Object.entries(goesWith) as [keyof MetricQueryBody, readonly AnswerForm[]][]) {
    if (body[name] !== undefined && !forms.includes(by))
      throw invalidField(`/${name}`, `goes with by=${forms.join(' and ')} alone`);
  }
  for (const name of ['limit', 'cursor'] as const) {
    if (body.top !== undefined && body[name] !== undefined)
      throw invalidField(`/${name}`, 'does not go with top, which has a count of its own');
  }
  if (body.points !== undefined && (body.period ?? 'auto') !== 'auto')
    throw invalidField('/points', 'goes with period=auto alone');
}

/** The ranking that a body asks for. */
export const topOf = ({ count = defaultTop, order = 'desc' }: NonNullable<MetricQueryBody['top']>) => ({
  top: { count, order },
});

const Uuid = Type.String({ format: 'uuid' });
const Value = nullable(Type.Number());
const Values = Type.Array(Value, { description: 'One for each of the timestamps; null: nothing is known.' });

export const servers = Type.Object(
  {
    total: Type.Integer({ description: 'Servers that are selected.' }),
    read: Type.Integer({ description: 'Those that this answer is of: of a page, those on it.' }),
    without_data: Type.Integer({ description: 'Those of them that told nothing of it in the range.' }),
  },
  { title: 'MetricServers', additionalProperties: false },
);

const common = {
  field: Type.String({ enum: Object.keys(metricFields) }),
  value: Type.String({ enum: [...metricValues] }),
  unit: Type.String(),
  period: Type.String({ enum: [...periods] }),
  start_time: Type.String({ format: 'date-time', description: 'Where the first period begins.' }),
  end_time: Type.String({
    format: 'date-time',
    description: 'Where the last period ends; it may still be filling.',
  }),
  servers,
  kept_from: KeptFrom,
};
const timestamps = Type.Array(Type.String({ format: 'date-time' }), {
  description: 'Where each period begins.',
});
const nextCursor = nullable(Type.String({ description: 'Of the next page; null where this is the last.' }));
const acrossValues = (description: string) =>
  nullable(
    Type.Object(Object.fromEntries(acrossFunctions.map(each => [each, Type.Optional(Value)])), {
      additionalProperties: false,
      description,
    }),
  );

export const MetricQueryReply = Type.Union([
  Type.Object(
    {
      by: Type.Literal('server'),
      ...common,
      timestamps,
      series: Type.Array(
        Type.Object(
          {
            server_id: Uuid,
            name: Type.String(),
            values: Type.Union([Values, Type.Null()], {
              description: 'Null: the server told nothing in the range.',
            }),
          },
          { additionalProperties: false },
        ),
      ),
      next_cursor: nextCursor,
    },
    { title: 'MetricSeries', additionalProperties: false },
  ),
  Type.Object(
    {
      by: Type.Literal('fleet'),
      ...common,
      timestamps,
      series: Type.Array(
        Type.Object(
          { across: Type.String({ enum: [...acrossFunctions] }), values: Values },
          { additionalProperties: false },
        ),
      ),
    },
    { title: 'FleetMetricSeries', additionalProperties: false },
  ),
  Type.Object(
    {
      by: Type.Literal('total'),
      ...common,
      totals: Type.Array(
        Type.Object({ server_id: Uuid, name: Type.String(), value: Value }, { additionalProperties: false }),
      ),
      across: acrossValues("Of the servers' totals; null where it was not asked for."),
      across_periods: acrossValues('Of all values of all periods; null where it was not asked for.'),
      next_cursor: nextCursor,
    },
    { title: 'MetricTotals', additionalProperties: false },
  ),
]);
