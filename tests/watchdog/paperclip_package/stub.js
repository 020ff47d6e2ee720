#!/usr/bin/env node
// Health, companies, dashboard, runs and layout of the real one; what a test writes to
// $PAPERCLIP_HOME/answers.json is told in their place.
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const zlib = require('node:zlib');
const { execFileSync } = require('node:child_process');

const home = process.env.PAPERCLIP_HOME;
const instance = path.join(home, 'instances', process.env.PAPERCLIP_INSTANCE_ID || 'default');
const version = require('./package.json').version;
const company = '023b2d1b-1584-4b9c-b29c-eb10e10e4ef0';

function answers() {
  try {
    return JSON.parse(fs.readFileSync(path.join(home, 'answers.json'), 'utf8'));
  } catch {
    return {};
  }
}

function onboard() {
  for (const name of ['db', 'secrets', 'logs', 'data/storage', 'data/backups', 'data/run-logs', 'workspaces'])
    fs.mkdirSync(path.join(instance, name), { recursive: true });
  fs.writeFileSync(path.join(instance, 'secrets/master.key'), 'key of the first start\n', { mode: 0o600 });
  fs.writeFileSync(path.join(instance, 'config.json'), JSON.stringify({ server: { host: '127.0.0.1' } }), { mode: 0o600 });
}

function answer(url) {
  const told = answers();
  const place = `/api/companies/${company}`;
  switch (url.split('?')[0]) {
    case '/api/health':
      return told.unhealthy
        ? [503, { status: 'unhealthy', error: 'database_unreachable' }]
        : [200, { status: 'ok', version: told.version || version }];
    case '/api/companies':
      return [200, [{ id: company, name: 'Demo' }]];
    case `${place}/dashboard`:
      return [200, {
        agents: { active: 1, running: (told.runs || []).length, paused: 0, error: told.agents_error || 0 },
        tasks: { open: 2, inProgress: 1, blocked: 0, done: 3 },
      }];
    case `${place}/heartbeat-runs`:
      return [200, [{ status: 'succeeded', finishedAt: new Date().toISOString() }]];
    case `${place}/live-runs`:
      return [200, (told.runs || []).map((name) => ({ status: 'running', agentName: name, startedAt: new Date().toISOString() }))];
    case `${place}/issues`:
      return [200, []];
    default:
      return [404, { error: 'not found' }];
  }
}

function serve() {
  const host = answers().host || '127.0.0.1';
  http.createServer((request, response) => {
    const [status, body] = answer(request.url);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  }).listen(Number(process.env.PORT || 3100), host, () => {
    if (process.env.NOTIFY_SOCKET) execFileSync('systemd-notify', ['--ready', `--pid=${process.pid}`]);
  });
}

const [command] = process.argv.slice(2);
if (command === 'onboard') {
  onboard();
  serve();
} else if (command === 'run') {
  if (!fs.existsSync(path.join(instance, 'config.json'))) process.exit(1);
  serve();
} else if (command === 'db:backup') {
  if (answers().unhealthy) process.exit(1);
  const name = `paperclip-${new Date().toISOString().replace(/[:.]/g, '-')}.sql.gz`;
  fs.writeFileSync(path.join(instance, 'data/backups', name), zlib.gzipSync('-- dump\n'));
} else {
  process.exit(2);
}
