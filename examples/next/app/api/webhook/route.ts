import { verifyWebhook, WebhookError } from "reelgate/webhooks";

/** What the gateway tells of jobs, also of those whose page was closed. An event may come twice: act on each id once. */
export async function POST(request: Request): Promise<Response> {
  try {
    const { id, event } = await verifyWebhook(request, { secret: process.env.REELGATE_WEBHOOK_SECRET! });
    console.log(id, event.type, event.data.request_id);
    return new Response(null, { status: 204 });
  } catch (error) {
    if (error instanceof WebhookError) return new Response(error.message, { status: 400 });
    throw error;
  }
}
