import { sayName } from './actions';

// A static page with a form that posts to a server action.
export default function Contact() {
  return (
    <form action={sayName}>
      <h1>Contact</h1>
      <input name="name" aria-label="Your name" />
      <button>Send</button>
    </form>
  );
}
