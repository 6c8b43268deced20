import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";

import { eventId, sessionId, uuid } from "../src/session.js";
import { FakePage, NOON, tracker } from "./helpers.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const UUID_7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

beforeEach(() => mock.timers.enable({ apis: ["Date"], now: NOON }));
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

describe("the session id", () => {
  it("is a UUID, made at the first call and stored with its UTC date", () => {
    const page = new FakePage().open();
    assert.equal(page.stored.size, 0);
    const id = sessionId();
    assert.match(id, UUID);
    assert.equal(sessionId(), id);
    const stored = JSON.parse(page.stored.get("signal.sessionId")!) as object;
    assert.deepEqual(stored, { id, date: "2026-11-25", open: true });
  });

  it("stays over a reload, and changes with the UTC date", () => {
    const first = new FakePage().open();
    const id = sessionId();
    first.fire("pagehide");
    const second = new FakePage(first.stored).open();
    assert.equal(sessionId(), id);
    mock.timers.setTime(Date.parse("2026-11-25T23:59:59.999Z"));
    assert.equal(sessionId(), id);
    mock.timers.setTime(Date.parse("2026-11-26T00:00:00.000Z"));
    const next = sessionId();
    assert.notEqual(next, id);
    assert.equal(sessionId(), next);
    second.fire("pagehide");
    new FakePage(first.stored).open();
    assert.equal(sessionId(), next);
  });

  it("stays if it is made only while the page is being left", () => {
    const first = new FakePage().open();
    tracker();
    first.fire("pagehide");
    const id = sessionId();
    const second = new FakePage(first.stored).open();
    assert.equal(sessionId(), id);
    new FakePage(new Map(second.stored)).open();
    assert.notEqual(sessionId(), id);
  });

  it("of yesterday is not taken up by a page that is loaded today", () => {
    const page = new FakePage().open();
    const id = sessionId();
    page.fire("pagehide");
    mock.timers.setTime(Date.parse("2026-11-26T00:00:00.000Z"));
    new FakePage(page.stored).open();
    assert.notEqual(sessionId(), id);
  });

  it("is another one in a tab whose storage is a copy", () => {
    const opener = new FakePage().open();
    const id = sessionId();
    new FakePage(new Map(opener.stored)).open();
    assert.notEqual(sessionId(), id);
  });

  it("is another one in a copy of a tab whose present page has sent nothing yet", () => {
    const first = new FakePage().open();
    const id = sessionId();
    first.fire("pagehide");
    const second = new FakePage(first.stored).open();
    tracker();
    new FakePage(new Map(second.stored)).open();
    assert.notEqual(sessionId(), id);
    second.fire("pagehide");
    first.open().fire("pageshow", { persisted: true });
    new FakePage(new Map(first.stored)).open();
    assert.notEqual(sessionId(), id);
  });

  it("is not made by a tracker that sends nothing", () => {
    const page = new FakePage().open();
    tracker();
    page.fire("pagehide");
    assert.equal(page.stored.size, 0);
  });

  it("is read again when the page comes back from the browser's cache", () => {
    const first = new FakePage().open();
    sessionId();
    first.fire("pagehide");
    const other = JSON.stringify({ id: "11111111-1111-4111-8111-111111111111", date: "2026-11-25" });
    first.stored.set("signal.sessionId", other);
    first.fire("pageshow", { persisted: true });
    assert.equal(sessionId(), "11111111-1111-4111-8111-111111111111");
  });

  it("does without storage, and without sense in it", () => {
    const page = new FakePage().open();
    page.sessionStorage.setItem = page.sessionStorage.getItem = () => {
      throw new DOMException("blocked", "SecurityError");
    };
    const id = sessionId();
    assert.match(id, UUID);
    assert.equal(sessionId(), id);
    const of = (id: unknown): string => JSON.stringify({ id, date: "2026-11-25" });
    const nil = "00000000-0000-0000-0000-000000000000";
    const max = nil.replace(/0/g, "f");
    for (const noise of ["", "{", "null", "7", '"x"', of(7), of(""), of("x"), of(nil), of(max), of(max.toUpperCase()), of(`${id}\n`)]) {
      new FakePage(new Map([["signal.sessionId", noise]])).open();
      assert.match(sessionId(), UUID);
    }
  });
});

describe("a UUID", () => {
  it("is random without crypto.randomUUID", () => {
    mock.method(crypto, "randomUUID");
    Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
    const made = Array.from({ length: 200 }, uuid);
    Reflect.deleteProperty(crypto, "randomUUID");
    assert.ok(made.every((each) => UUID.test(each)), made[0]);
    assert.equal(new Set(made).size, 200);
    assert.equal(new Set(made.map((each) => each[19])).size, 4);
  });

  it("of an event begins with its time, and is of version 7", () => {
    for (const now of [0, 1_700_000_000_000, 2 ** 48 - 1]) {
      mock.method(Date, "now", () => now);
      const id = eventId();
      mock.restoreAll();
      assert.match(id, UUID_7);
      assert.equal(parseInt(id.replace(/-/g, "").slice(0, 12), 16), now);
    }
    assert.notEqual(eventId(), eventId());
  });
});
