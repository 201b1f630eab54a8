import { expect, test } from 'vitest';
import { criteriaOf, matches, settingsOf } from './group.ts';

const none = { tags: [], regions: [], environments: [] };
const server = { tags: ['web', 'linux'], region: 'eu-west', environment: 'production' };
const bare = { tags: [], region: null, environment: null };

test('a group without criteria matches nothing by itself', () => {
  expect(matches(none, server)).toBe(false);
});

test('all tags must be there, one of the regions, one of the environments', () => {
  expect(matches({ ...none, tags: ['linux', 'web'] }, server)).toBe(true);
  expect(matches({ ...none, tags: ['linux', 'db'] }, server)).toBe(false);
  expect(matches({ ...none, regions: ['us-east', 'eu-west'] }, server)).toBe(true);
  expect(matches({ ...none, regions: ['us-east'] }, server)).toBe(false);
  expect(matches({ ...none, environments: ['production'] }, server)).toBe(true);
  expect(matches({ ...none, environments: ['staging'] }, server)).toBe(false);
});

test('criteria of different kinds must all be met', () => {
  const strict = { tags: ['web'], regions: ['eu-west'], environments: ['production'] };
  expect(matches(strict, server)).toBe(true);
  expect(matches({ ...strict, tags: ['db'] }, server)).toBe(false);
  expect(matches({ ...strict, regions: ['us-east'] }, server)).toBe(false);
  expect(matches({ ...strict, environments: ['staging'] }, server)).toBe(false);
});

test('a server without a region or environment meets no criterion for one', () => {
  expect(matches({ ...none, regions: ['eu-west'] }, bare)).toBe(false);
  expect(matches({ ...none, environments: ['production'] }, bare)).toBe(false);
});

test('what is left out is empty, and text is stored trimmed and once', () => {
  expect(criteriaOf({ tags: [' web ', 'web', 'db'] })).toEqual({ ...none, tags: ['web', 'db'] });
  expect(settingsOf({ name: ' Web ', regions: ['eu ', 'eu'] })).toEqual({
    ...none,
    name: 'Web',
    description: null,
    color: null,
    regions: ['eu'],
  });
});
