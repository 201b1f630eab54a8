import { describe, expect, test } from 'vitest';
import {
  changesOf,
  errorsByField,
  fieldsOf,
  type JsonSchema,
  requestBodyOf,
  validate,
  valuesOf,
} from './schema.ts';
import { serverRegistration, serverUpdate } from './server-schemas.ts';

const fields = fieldsOf(serverRegistration);
const valid = { name: 'web-1', hostname: 'web-1', api_url: 'https://web-1', api_token: 'secret' };

describe('the fields of the registration', () => {
  test('come in the order of the schema, each with the control that fits', () => {
    expect(fields.map(({ name, kind }) => [name, kind])).toEqual([
      ['name', 'text'],
      ['hostname', 'text'],
      ['api_url', 'text'],
      ['api_token', 'secret'],
      ['description', 'long_text'],
      ['region', 'text'],
      ['environment', 'text'],
      ['tags', 'list'],
      ['metadata', 'json'],
      ['adapter', 'choice'],
      ['health_interval_seconds', 'whole_number'],
      ['metrics_interval_seconds', 'whole_number'],
    ]);
  });

  test('know what is required and what may be null', () => {
    expect(fields.filter(field => field.isRequired).map(field => field.label)).toEqual([
      'Name',
      'Hostname',
      'API URL',
      'API token',
    ]);
    expect(fields.filter(field => field.isNullable).map(field => field.name)).toEqual([
      'description',
      'region',
      'environment',
      'health_interval_seconds',
      'metrics_interval_seconds',
    ]);
  });
});

describe('validation', () => {
  const errorOf = (name: string, text: string) => validate(fields, { ...valid, [name]: text })[name];

  test('finds nothing wrong with what the API takes', () => {
    expect(validate(fields, { ...valid, tags: 'a, b', metadata: '{"rack": 4}', region: 'eu-west' })).toEqual(
      {},
    );
  });

  test('names the field and what it must be', () => {
    expect(errorOf('name', '  ')).toBe('Name is required');
    expect(errorOf('api_token', 'two words')).toBe('API token must be printable ASCII without spaces');
    expect(errorOf('region', 'r'.repeat(101))).toBe('Region must be 1 to 100 characters on one line');
    expect(errorOf('metadata', '[1]')).toMatch(/^Metadata must be a JSON object/);
    expect(errorOf('metadata', '{')).toMatch(/^Metadata must be a JSON object/);
  });

  test('takes whole numbers within their limits', () => {
    const errorsOf = (texts: string[]) => texts.map(text => errorOf('health_interval_seconds', text));
    expect(errorsOf(['', '5', ' 30 ', '86400'])).toEqual([undefined, undefined, undefined, undefined]);
    const message = 'Health interval seconds must be a whole number of seconds from 5 to 86400 (a day)';
    expect(errorsOf(['4', '86401', '7.5', 'ten', '1e3'])).toEqual(Array(5).fill(message));
  });

  test('looks into lists: how many, and each of them', () => {
    expect(errorOf('tags', Array.from({ length: 51 }, (_, n) => `t${n}`).join())).toBe(
      'Tags takes at most 50',
    );
    expect(errorOf('tags', `fine, ${'x'.repeat(65)}`)).toMatch(
      /^Tags “x+” must be 1 to 64 characters on one line$/,
    );
  });

  test('counts characters as the API does', () => {
    const schema: JsonSchema = { properties: { name: { type: 'string', maxLength: 2 } } };
    expect(validate(fieldsOf(schema), { name: '👍👍' })).toEqual({});
    expect(validate(fieldsOf(schema), { name: '👍👍👍' })).toEqual({
      name: 'Name must have at most 2 characters',
    });
  });
});

test('a new body has what was filled in, typed', () => {
  expect(
    requestBodyOf(fields, {
      ...valid,
      tags: ' a,, b ',
      metadata: '{"rack": 4}',
      description: ' ',
      health_interval_seconds: ' 10 ',
    }),
  ).toEqual({
    ...valid,
    tags: ['a', 'b'],
    metadata: { rack: 4 },
    health_interval_seconds: 10,
  });
});

describe('a change', () => {
  const updateFields = fieldsOf(serverUpdate);
  const facts = { region: 'eu', tags: ['a'], metadata: {}, adapter: 'http', status: 'active' };
  const server = { ...valid, ...facts, health_interval_seconds: 10, metrics_interval_seconds: null };
  const before = valuesOf(updateFields, server);

  test('starts from what is there, but for the secret', () => {
    expect(before).toMatchObject({ name: 'web-1', api_token: '', tags: 'a', metadata: '', status: 'active' });
  });

  test('has only what differs; emptied is null or an empty list', () => {
    expect(changesOf(updateFields, before, before)).toEqual({});
    expect(before).toMatchObject({ health_interval_seconds: '10', metrics_interval_seconds: '' });
    const after = { ...before, region: '', tags: '', status: 'maintenance' };
    const intervals = { health_interval_seconds: '', metrics_interval_seconds: '20' };
    expect(changesOf(updateFields, before, { ...after, ...intervals })).toEqual({
      health_interval_seconds: null,
      metrics_interval_seconds: 20,
      region: null,
      tags: [],
      status: 'maintenance',
    });
  });
});

describe('errors of the API', () => {
  test('go to their fields, the first one to each', () => {
    const found = [
      { pointer: '/tags/3', detail: 'must be 1 to 64 characters on one line' },
      { pointer: '/tags/4', detail: 'is too long' },
      { pointer: '/api_url', detail: 'is already taken by another server' },
    ];
    expect(errorsByField(fields, found)).toEqual({
      tags: 'Tags must be 1 to 64 characters on one line',
      api_url: 'API URL is already taken by another server',
    });
  });

  test('of no field come under the empty name', () => {
    expect(errorsByField(fields, [{ pointer: '/colour', detail: 'is not a known field' }])).toEqual({
      '': '/colour is not a known field',
    });
  });
});
