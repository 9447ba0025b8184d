// Speaks JSON lines on standard input and output: each line in is
// {"id", "library", "op": "verify" | "sign", …}, each line out {"id", "ok", "error"?, "headers"?}.
// Bodies travel in base64. Every library is loaded when it is first asked for.
import { createInterface } from "node:readline";
import { createPublicKey, verify as cryptoVerify } from "node:crypto";

const cache = new Map();
const load = (name) => {
  if (!cache.has(name)) cache.set(name, import(name));
  return cache.get(name);
};

// ensure turns a boolean answer into an exception, so that all libraries answer alike.
const ensure = (valid, why = "the library refused it") => {
  if (!valid) throw new Error(why);
};

const standard = (name, prefix) => ({
  async verify({ secret, headers, body }) {
    const { Webhook } = await load(name);
    new Webhook(secret).verify(body, headers);
  },
  async sign({ secret, messageId, timestamp, body }) {
    const { Webhook } = await load(name);
    const signature = new Webhook(secret).sign(messageId, new Date(timestamp * 1000), body);
    return { [prefix + "id"]: messageId, [prefix + "timestamp"]: String(timestamp), [prefix + "signature"]: signature };
  },
});

const libraries = {
  standardwebhooks: standard("standardwebhooks", "webhook-"),
  svix: standard("svix", "svix-"),

  // No library implements v1a of Standard Webhooks: Node's own Ed25519 does.
  "node-ed25519": {
    async verify({ secret, headers, body }) {
      const raw = Buffer.from(secret.replace(/^whpk_/, ""), "base64");
      const key = createPublicKey({
        key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]), format: "der", type: "spki",
      });
      const content = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), Buffer.from(body)]);
      const signatures = headers["webhook-signature"].split(" ").filter((entry) => entry.startsWith("v1a,"));
      ensure(signatures.some((entry) => cryptoVerify(null, content, key, Buffer.from(entry.slice(4), "base64"))));
    },
  },

  stripe: {
    async verify({ secret, headers, body }) {
      const { default: Stripe } = await load("stripe");
      new Stripe("sk_test_unused").webhooks.constructEvent(body, headers["stripe-signature"], secret);
    },
    async sign({ secret, timestamp, body }) {
      const { default: Stripe } = await load("stripe");
      const payload = body.toString();
      return { "stripe-signature": new Stripe("sk_test_unused").webhooks.generateTestHeaderString({ payload, secret, timestamp }) };
    },
  },

  octokit: {
    async verify({ secret, headers, body }) {
      const { verify } = await load("@octokit/webhooks-methods");
      ensure(await verify(secret, body.toString(), headers["x-hub-signature-256"]));
    },
    async sign({ secret, body }) {
      const { sign } = await load("@octokit/webhooks-methods");
      return { "x-hub-signature-256": await sign(secret, body.toString()) };
    },
  },

  twilio: {
    async verify({ secret, url, headers, body }) {
      const { default: twilio } = await load("twilio");
      const signature = headers["x-twilio-signature"];
      if ((headers["content-type"] ?? "").startsWith("application/json")) {
        ensure(twilio.validateRequestWithBody(secret, signature, url, body.toString()));
      } else {
        ensure(twilio.validateRequest(secret, signature, url, form(body)));
      }
    },
    async sign({ secret, url, body }) {
      const { getExpectedTwilioSignature } = await load("twilio/lib/webhooks/webhooks.js");
      return { "x-twilio-signature": getExpectedTwilioSignature(secret, url, form(body)) };
    },
  },

  shopify: {
    async verify({ secret, url, headers, body }) {
      await load("@shopify/shopify-api/adapters/node");
      const { shopifyApi, ApiVersion } = await load("@shopify/shopify-api");
      const api = shopifyApi({
        apiKey: "unused", apiSecretKey: secret, hostName: "hooks.example.com", apiVersion: Object.values(ApiVersion)[0],
        isEmbeddedApp: false, scopes: [], logger: { log: () => {} },
      });
      const result = await api.webhooks.validate({
        rawBody: body.toString(), rawRequest: { method: "POST", url, headers }, rawResponse: {},
      });
      ensure(result.valid, result.reason);
    },
  },

  paddle: {
    async verify({ secret, headers, body }) {
      const { Paddle } = await load("@paddle/paddle-node-sdk");
      ensure(await new Paddle("unused").webhooks.isSignatureValid(body.toString(), secret, headers["paddle-signature"]));
    },
  },

  hubspot: {
    async verify({ secret, method, url, headers, body }) {
      const { Signature } = await load("@hubspot/api-client");
      const v3 = headers["x-hubspot-signature-v3"];
      ensure(Signature.isValid({
        signatureVersion: v3 ? "v3" : headers["x-hubspot-signature-version"], signature: v3 ?? headers["x-hubspot-signature"],
        method, url, clientSecret: secret, requestBody: body.toString(),
        timestamp: v3 ? Number(headers["x-hubspot-request-timestamp"]) : undefined,
      }));
    },
  },

  square: {
    async verify({ secret, url, headers, body }) {
      const { WebhooksHelper } = await load("square");
      ensure(await WebhooksHelper.verifySignature({
        requestBody: body.toString(), signatureHeader: headers["x-square-hmacsha256-signature"], signatureKey: secret, notificationUrl: url,
      }));
    },
  },

  linear: {
    async verify({ secret, headers, body }) {
      const { LinearWebhookClient } = await load("@linear/sdk/webhooks");
      ensure(new LinearWebhookClient(secret).verify(body, headers["linear-signature"], headers["linear-timestamp"]));
    },
  },

  mercadopago: {
    async verify({ secret, url, headers }) {
      const { WebhookSignatureValidator } = await load("mercadopago");
      WebhookSignatureValidator.validate({
        xSignature: headers["x-signature"], xRequestId: headers["x-request-id"],
        dataId: new URL(url).searchParams.get("data.id")?.toLowerCase(), secret,
      });
    },
  },

  // The payments variant, whose signature is in the body, and the whole-body variant.
  adyen: {
    async verify({ secret, headers, body }) {
      const { hmacValidator: Validator } = await load("@adyen/api-library");
      const validator = new Validator();
      if (headers["hmacsignature"]) {
        ensure(validator.validateHMACSignature(secret, headers["hmacsignature"], body.toString()));
        return;
      }
      for (const { NotificationRequestItem: item } of JSON.parse(body).notificationItems) {
        ensure(validator.validateHMAC(item, secret));
      }
    },
  },

  sendgrid: {
    async verify({ secret, headers, body }) {
      const { EventWebhook } = await load("@sendgrid/eventwebhook");
      const webhook = new EventWebhook();
      ensure(webhook.verifySignature(
        webhook.convertPublicKeyToECDSA(secret), body,
        headers["x-twilio-email-event-webhook-signature"], headers["x-twilio-email-event-webhook-timestamp"],
      ));
    },
  },

  discord: {
    async verify({ secret, headers, body }) {
      const { verifyKey } = await load("discord-interactions");
      ensure(await verifyKey(body, headers["x-signature-ed25519"], headers["x-signature-timestamp"], secret));
    },
  },

  line: {
    async verify({ secret, headers, body }) {
      const { validateSignature } = await load("@line/bot-sdk");
      ensure(validateSignature(body, secret, headers["x-line-signature"]));
    },
  },

  sanity: {
    async verify({ secret, headers, body }) {
      const { isValidSignature } = await load("@sanity/webhook");
      ensure(await isValidSignature(body.toString(), headers["sanity-webhook-signature"], secret));
    },
  },

  pusher: {
    async verify({ secret, headers, body }) {
      const { default: Pusher } = await load("pusher");
      const pusher = new Pusher({ appId: "1", key: headers["x-pusher-key"], secret, cluster: "mt1" });
      ensure(pusher.webhook({ headers, rawBody: body.toString() }).isValid());
    },
  },

  workos: {
    async verify({ secret, headers, body }) {
      const { WorkOS } = await load("@workos-inc/node");
      await new WorkOS("sk_unused").webhooks.constructEvent({
        payload: JSON.parse(body), sigHeader: headers["workos-signature"], secret,
      });
    },
  },

  // The certificate is put into the cache, because the real one is fetched.
  sns: {
    async verify({ secret, body }) {
      const { default: Validator } = await load("sns-payload-validator");
      const validator = new Validator();
      const { url, certificate } = JSON.parse(secret);
      validator.certCache.set(url, certificate);
      await validator.validate(body.toString());
    },
  },

  // The token's own checks; the certificate is given, because the real ones are fetched.
  google: {
    async verify({ secret, headers, audience }) {
      const { OAuth2Client } = await load("google-auth-library");
      const token = headers["authorization"].replace(/^Bearer /, "");
      await new OAuth2Client().verifySignedJwtWithCertsAsync(
        token, JSON.parse(secret), audience, ["https://accounts.google.com", "accounts.google.com"],
      );
    },
  },

  cloudevents: {
    async verify({ headers, body }) {
      const { HTTP } = await load("cloudevents");
      for (const event of [HTTP.toEvent({ headers, body: body.toString() })].flat()) ensure(event.validate());
    },
    async sign({ messageId, mode, body }) {
      const { HTTP, CloudEvent } = await load("cloudevents");
      const event = new CloudEvent({ id: messageId, source: "/loja", type: "order.paid", data: JSON.parse(body) });
      const message = HTTP[mode](event);
      return { ...message.headers, "": message.body };
    },
  },
};

const form = (body) => Object.fromEntries([...new URLSearchParams(body.toString()).keys()].map((name) => {
  const values = new URLSearchParams(body.toString()).getAll(name);
  return [name, values.length === 1 ? values[0] : values];
}));

const answer = async (line) => {
  const request = JSON.parse(line);
  try {
    const library = libraries[request.library];
    ensure(library?.[request.op], `there is no ${request.op} of ${request.library}`);
    const headers = await library[request.op]({ ...request, body: Buffer.from(request.body ?? "", "base64") });
    return { id: request.id, ok: true, headers };
  } catch (error) {
    return { id: request.id, ok: false, error: String(error?.message || error?.name || error) };
  }
};

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await answer(line)) + "\n");
}
