import { Maker } from "./maker";

export const dynamic = "force-dynamic"; // the gateway's address is read when the page is asked for

export default function Page() {
  return (
    <main>
      <h1>A video of your own</h1>
      <Maker gateway={process.env.REELGATE_URL!} />
    </main>
  );
}
