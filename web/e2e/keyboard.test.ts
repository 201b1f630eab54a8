import { describe, expect, test } from 'vitest';
import { startDashboard } from './dashboard.ts';

const { heading, row, signedIn } = startDashboard();

describe('by keyboard', () => {
  test('one searches, goes and finds out how, and the focus follows the page', async () => {
    const page = await signedIn('/servers');
    await row(page, 'api-1').waitFor();
    await page.keyboard.press('/');
    expect(await page.getByLabel('Search').evaluate(element => element === document.activeElement)).toBe(
      true,
    );
    // In a field the keys are what one types.
    await page.keyboard.type('n?');
    expect(await page.getByLabel('Search').inputValue()).toBe('n?');
    await page.getByLabel('Search').fill('');
    await page.getByLabel('Search').blur();
    await page.keyboard.press('n');
    await heading(page, 'Register a server').waitFor();
    expect(
      await heading(page, 'Register a server').evaluate(element => element === document.activeElement),
    ).toBe(true);
    await page.keyboard.press('g');
    await page.keyboard.press('s');
    await heading(page, 'Servers').waitFor();
    await page.keyboard.press('?');
    const sheet = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
    await sheet.getByLabel('Single-key shortcuts are on').uncheck();
    await page.keyboard.press('Escape');
    await sheet.waitFor({ state: 'detached' });
    await page.keyboard.press('n');
    expect(new URL(page.url()).pathname).toBe('/servers');
  });

  test('the first Tab leads past the navigation', async () => {
    const page = await signedIn('/servers');
    await row(page, 'api-1').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('main');
  });
});

test('the chosen theme holds before the first paint of the next visit', async () => {
  const page = await signedIn('/servers');
  await page.getByLabel('Theme').selectOption('dark');
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await background();
  await page.route('**/assets/*.js', route => route.abort());
  await page.reload({ waitUntil: 'domcontentloaded' });
  expect(await background()).toBe(dark);
  // The frame of the page is there although the program is not.
  expect(await page.getByText('opsfleet').first().isVisible()).toBe(true);
});
