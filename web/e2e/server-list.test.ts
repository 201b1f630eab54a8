import { describe, expect, test } from 'vitest';
import { startDashboard } from './dashboard.ts';

const { dashboard, row, signedIn } = startDashboard();

describe('the list', () => {
  test('shows each state by a word, its reason, and a dash where nothing was measured', async () => {
    const page = await signedIn('/servers');
    await row(page, 'api-2').getByText('Critical').waitFor();
    expect(await row(page, 'api-2').innerText()).toContain('database: connection refused');
    expect(await row(page, 'edge-1').innerText()).toContain('Unreachable');
    expect(await row(page, 'edge-1').getByText('Flapping').count()).toBe(1);
    expect(await row(page, 'api-2').getByText('Flapping').count()).toBe(0);
    expect(await row(page, 'edge-1').getByText('no data').count()).toBe(4);
    expect(await page.title()).toBe('(3) Servers · opsfleet');
  });

  test('is counted in a sentence whose numbers lead to exactly those servers', async () => {
    const page = await signedIn('/servers');
    await page.getByRole('link', { name: '1 critical' }).click();
    await page.getByText('1 server match').waitFor();
    expect(await page.getByRole('row').count()).toBe(2);
    expect(new URL(page.url()).search).toBe('?health=critical&status=active');
  });

  test('is searched and filtered in its address; back undoes it', async () => {
    const page = await signedIn('/servers');
    await row(page, 'api-1').waitFor();
    await page.getByLabel('Health').selectOption('healthy');
    await row(page, 'api-2').waitFor({ state: 'detached' });
    await page.getByLabel('Search').fill('db');
    await row(page, 'api-1').waitFor({ state: 'detached' });
    expect(new URL(page.url()).search).toBe('?health=healthy&q=db');
    await page.goBack();
    await row(page, 'edge-1').waitFor();
    await page.getByLabel('Tag').fill('gpu');
    await page.keyboard.press('Enter');
    await row(page, 'api-1').waitFor({ state: 'detached' });
    await row(page, 'batch-1').waitFor();
  });

  test('is searched while one types, who keeps the focus and every letter', async () => {
    const page = await signedIn('/servers');
    const field = page.getByLabel('Search');
    for (const [letter, gone] of [
      ['b', 'edge-1'],
      ['a', 'db-1'],
    ] as const) {
      await field.press(letter);
      await row(page, gone).waitFor({ state: 'detached' });
    }
    await row(page, 'batch-1').waitFor();
    expect(await field.inputValue()).toBe('ba');
    expect(await field.evaluate(element => element === document.activeElement)).toBe(true);
    await page.getByRole('button', { name: 'Clear the filter' }).click();
    await row(page, 'edge-1').waitFor();
    expect(await field.inputValue()).toBe('');
  });

  test('that matches nothing names the filters to blame', async () => {
    const page = await signedIn('/servers?q=nothing&region=mars');
    await page.getByRole('heading', { name: 'No server matches' }).waitFor();
    await page.getByRole('link', { name: 'Region: mars' }).click();
    expect(new URL(page.url()).search).toBe('?q=nothing');
    await page.getByRole('link', { name: 'Show all servers' }).click();
    await row(page, 'api-1').waitFor();
  });

  test('keeps its rows where they are and replaces values as they change', async () => {
    const page = await signedIn('/servers');
    await row(page, 'db-1').getByText('Healthy').waitFor();
    await dashboard().fleet.set(dashboard().ids['db-1']!, {
      health_status: 'degraded',
      health_reason: 'component_failed',
      response_time_ms: 777,
    });
    await row(page, 'db-1').getByText('Degraded').waitFor();
    expect(await row(page, 'db-1').innerText()).toContain('777');
    await dashboard().fleet.set(dashboard().ids['db-1']!, { health_status: 'healthy', health_reason: 'ok' });
    await row(page, 'db-1').getByText('Healthy').waitFor();
  });

  test('says that it changed, and changes only when asked', async () => {
    const page = await signedIn('/servers');
    await row(page, 'api-1').waitFor();
    const id = await dashboard().fleet.register({ name: 'aaa-newcomer' });
    const update = page.getByRole('button', { name: 'update the list' });
    await update.waitFor();
    expect(await row(page, 'aaa-newcomer').count()).toBe(0);
    await update.click();
    await row(page, 'aaa-newcomer').waitFor();
    const admin = dashboard().fleet.app.with(dashboard().fleet.token);
    await admin.delete(`/api/v1/fleet/servers/${id}`);
    await row(page, 'aaa-newcomer').getByText('Deleted').waitFor();
  });

  test('keeps the old rows when it cannot be read, says why, and tries again', async () => {
    const page = await signedIn('/servers');
    await row(page, 'api-1').waitFor();
    await page.route('**/api/v1/fleet/servers?*', route => route.abort());
    await dashboard().fleet.register({ name: 'later-1' });
    await page.getByRole('button', { name: 'update the list' }).click();
    const alert = page.getByRole('alert');
    await alert.getByText('cannot be reached').waitFor();
    expect(await row(page, 'api-1').count()).toBe(1);
    await page.unroute('**/api/v1/fleet/servers?*');
    await alert.getByRole('button', { name: 'Try again' }).click();
    await row(page, 'later-1').waitFor();
  });
});

describe('the connection', () => {
  test('says that it is lost, and comes back by itself', async () => {
    const page = await signedIn('/servers');
    const status = (word: string) => page.getByRole('status').filter({ hasText: new RegExp(`^${word}$`) });
    await status('Live').waitFor();
    await page.route('**/api/v1/fleet/events*', route => route.abort());
    // A filter changes what is watched, so the stream is asked for anew, in vain.
    await page.getByLabel('Health').selectOption('critical');
    await status('Reconnecting').waitFor();
    expect(await page.locator('[data-stale=true]').count()).toBe(1);
    await page.unroute('**/api/v1/fleet/events*');
    await status('Live').waitFor();
    expect(await page.locator('[data-stale=true]').count()).toBe(0);
  });
});
