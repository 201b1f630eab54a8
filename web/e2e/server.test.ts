import { describe, expect, test } from 'vitest';
import { startDashboard } from './dashboard.ts';

const { dashboard, heading, signedIn } = startDashboard();

describe('a server', () => {
  test('shows its state in words, what it is made of, and its last hour with the gap', async () => {
    const page = await signedIn(`/servers/${dashboard().ids['api-2']}`);
    await heading(page, 'api-2').waitFor();
    expect(await page.title()).toBe('Critical: api-2 · opsfleet');
    await page.getByText('A component has failed: database: connection refused').waitFor();
    expect(await page.getByRole('listitem').filter({ hasText: 'database' }).innerText()).toContain('failed');
    await page.getByText('No metrics in the last hour').waitFor();

    await page.goto(`/servers/${dashboard().ids['api-1']}`);
    await page.getByText('56 of 60 checks found it healthy.').waitFor();
    await page.locator('figure canvas').nth(3).waitFor();
    await page.getByRole('button', { name: 'Show as tables' }).click();
    const table = page.getByRole('region', { name: 'Network, as a table' });
    await table.waitFor();
    // What scrolls inside of the panel must not lengthen the page.
    expect(await page.evaluate(() => document.documentElement.scrollHeight)).toBeLessThan(1_400);
    const cells = await table.getByRole('row').allInnerTexts();
    // 50 samples, the empty one in the gap, the heading.
    expect(cells).toHaveLength(52);
    // The reset of a counter is a missing rate, never a negative one.
    expect(cells.join('\n')).not.toMatch(/-\d/);
    expect(cells.filter(text => text.includes('no data')).length).toBeGreaterThan(2);
  });

  test('shows its charts in a browser whose language nobody knows', async () => {
    const page = await signedIn('/servers');
    await page.addInitScript(() => {
      Object.defineProperty(Navigator.prototype, 'language', { get: () => 'en-US@posix' });
    });
    await page.goto(`/servers/${dashboard().ids['api-1']}`);
    await page.locator('figure canvas').nth(3).waitFor();
  });

  test('is live', async () => {
    const page = await signedIn(`/servers/${dashboard().ids['db-1']}`);
    await heading(page, 'db-1').waitFor();
    await dashboard().fleet.set(dashboard().ids['db-1']!, {
      health_status: 'critical',
      health_reason: 'timeout',
    });
    await page.getByText('It did not answer in time').waitFor();
    await dashboard().fleet.set(dashboard().ids['db-1']!, { health_status: 'healthy', health_reason: 'ok' });
    await page.getByText('Everything it reports is well').waitFor();
  });

  test('says how firm its state is, and only while it is not', async () => {
    const { fleet, ids } = dashboard();
    const page = await signedIn(`/servers/${ids['db-1']}`);
    await heading(page, 'db-1').waitFor();
    const doubt = page.getByText('Its last check failed. It is called down when three in a row have.');
    expect(await doubt.count()).toBe(0);
    await fleet.set(ids['db-1']!, { suspect_since: new Date() });
    await doubt.waitFor();
    await fleet.set(ids['db-1']!, { suspect_since: null });
    await doubt.waitFor({ state: 'detached' });
  });

  test('is asked at an interval of its own, until that is cleared', async () => {
    const id = await dashboard().fleet.register({ name: 'own-1', health_interval_seconds: 10 });
    const page = await signedIn(`/servers/${id}`);
    await page.getByText('health 10 s').waitFor();
    const dialog = page.getByRole('dialog', { name: 'Edit own-1' });
    const edit = async (label: string, value: string): Promise<void> => {
      await page.getByRole('button', { name: 'Edit' }).click();
      await dialog.getByLabel(label).fill(value);
      await dialog.getByRole('button', { name: 'Save the changes' }).click();
    };
    await edit('Metrics interval seconds', '4');
    await dialog.getByText('must be a whole number of seconds from 5 to 86400 (a day)').waitFor();
    await dialog.getByLabel('Metrics interval seconds').fill('20');
    await dialog.getByRole('button', { name: 'Save the changes' }).click();
    await page.getByText('health 10 s, metrics 20 s').waitFor();
    await edit('Health interval seconds', '');
    await page.getByText('metrics 20 s', { exact: true }).waitFor();
  });

  test('is edited; what somebody else changed meanwhile is not overwritten', async () => {
    const id = await dashboard().fleet.register({ name: 'edited-1' });
    const page = await signedIn(`/servers/${id}`);
    await page.getByRole('button', { name: 'Edit' }).click();
    const dialog = page.getByRole('dialog', { name: 'Edit edited-1' });
    expect(await dialog.getByLabel('API token').inputValue()).toBe('');
    await dialog.getByLabel('Region').fill('eu-north');
    await dialog.getByRole('button', { name: 'Save the changes' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'eu-north' }).waitFor();

    await page.getByRole('button', { name: 'Edit' }).click();
    await dialog.getByLabel('Region').fill('mine');
    await dashboard()
      .fleet.app.with(dashboard().fleet.token)
      .patch(`/api/v1/fleet/servers/${id}`, { region: 'theirs' });
    await dialog.getByRole('button', { name: 'Save the changes' }).click();
    await dialog.getByText('Somebody else changed this server').waitFor();
    await dialog.getByRole('button', { name: 'Start again' }).click();
    expect(await dialog.getByLabel('Region').inputValue()).toBe('theirs');
  });

  test('is deleted only when its name was typed; who looks at it is told', async () => {
    const id = await dashboard().fleet.register({ name: 'doomed-1' });
    const [page, witness] = [await signedIn(`/servers/${id}`), await signedIn(`/servers/${id}`)];
    await heading(witness, 'doomed-1').waitFor();
    await page.getByRole('button', { name: 'Delete' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete doomed-1?' });
    const remove = dialog.getByRole('button', { name: 'Delete the server' });
    expect(await remove.getAttribute('aria-disabled')).toBe('true');
    await dialog.getByLabel('Type its name to confirm').fill('doomed-1');
    await remove.click();
    await heading(page, 'Servers').waitFor();
    await heading(witness, 'doomed-1 was deleted').waitFor();
    await page.goto(`/servers/${id}`);
    await heading(page, 'There is no such server').waitFor();
  });
});
