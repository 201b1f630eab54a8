import type { Page } from 'playwright-core';
import { beforeEach, describe, expect, test } from 'vitest';
import { accessibilityFaults, sidewaysOverflow, smallTargets } from './browser.ts';
import { startDashboard } from './dashboard.ts';

const { dashboard, heading, signedIn, stranger } = startDashboard();

/** What follows a new size is laid out by the frame after it. */
const nextFrame = (page: Page): Promise<void> =>
  page.evaluate(
    () => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => resolve()))),
  );

const pages: [name: string, path: () => string, settle: (page: Page) => Promise<unknown>][] = [
  ['the list', () => '/servers', page => page.getByRole('link', { name: 'api-1', exact: true }).waitFor()],
  [
    'a list that matches nothing',
    () => '/servers?q=nothing',
    page => page.getByText('No server matches').first().waitFor(),
  ],
  [
    'a server',
    () => `/servers/${dashboard().ids['api-1']}`,
    page => page.getByText('checks found it healthy').waitFor(),
  ],
  [
    'a server without metrics',
    () => `/servers/${dashboard().ids['edge-1']}`,
    page => page.getByText('No metrics in the last hour').waitFor(),
  ],
  [
    'its tables',
    () => `/servers/${dashboard().ids['api-1']}`,
    page => page.getByRole('button', { name: 'Show as tables' }).click(),
  ],
  [
    'editing',
    () => `/servers/${dashboard().ids['api-1']}`,
    page => page.getByRole('button', { name: 'Edit' }).click(),
  ],
  [
    'deleting',
    () => `/servers/${dashboard().ids['api-1']}`,
    page => page.getByRole('button', { name: 'Delete' }).click(),
  ],
  [
    'a form with errors',
    () => '/servers/new',
    page => page.getByRole('button', { name: 'Register the server' }).click(),
  ],
  [
    'a server that is not there',
    () => '/servers/nobody',
    page => heading(page, 'There is no such server').waitFor(),
  ],
  [
    'an address that leads nowhere',
    () => '/servers/a/b',
    page => heading(page, 'There is nothing at this address').waitFor(),
  ],
];

describe.each(['light', 'dark'] as const)('in the %s theme', colorScheme => {
  let page: Page;
  beforeEach(async () => {
    page = await signedIn('/servers', { colorScheme });
  });

  test.each(pages)('%s is accessible and fits every width', async (_name, path, settle) => {
    await page.goto(path());
    await settle(page);
    expect(await accessibilityFaults(page)).toEqual([]);
    for (const width of [320, 390, 768, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      await nextFrame(page);
      expect([width, await sidewaysOverflow(page), await smallTargets(page)]).toEqual([width, 0, []]);
    }
    await page.setViewportSize({ width: 390, height: 800 });
    expect(await accessibilityFaults(page)).toEqual([]);
  });
});

test('the sign-in page is accessible', async () => {
  for (const colorScheme of ['light', 'dark'] as const) {
    const page = await stranger({ colorScheme, width: 390 });
    await page.goto('/sign-in#link=wrong');
    await page.getByRole('alert').waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await sidewaysOverflow(page)).toBe(0);
  }
});
