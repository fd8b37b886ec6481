"""A Django site in one file: sessions, messages, forms with tokens, the language switch, the admin.

Defaults of a new project, but for what one file makes necessary.
"""

import os
import sys
from pathlib import Path

from django.conf import settings

WORK = Path(os.environ["SITE_WORK"])
(WORK / "static").mkdir(exist_ok=True)

settings.configure(
    SECRET_KEY="a key for a site on loopback that lives for a minute",
    DEBUG=False,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": WORK / "site.sqlite3"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    SESSION_SAVE_EVERY_REQUEST=os.environ.get("SITE_SLIDES") == "1",
    LANGUAGE_CODE="en",
    LANGUAGES=[("en", "English"), ("de", "Deutsch")],
    USE_I18N=True,
    STATIC_URL="/static/",
    STATIC_ROOT=WORK / "static",
    LOGIN_URL="/login",
)

import django

django.setup()

from django.contrib import admin, messages
from django.contrib.auth import authenticate, get_user_model, login, logout
from django.contrib.auth.decorators import login_required
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.template import RequestContext, Template
from django.urls import include, path
from django.utils.translation import get_language
from django.views.decorators.http import require_POST

COUNTS = WORK / "counts"
ENTRIES = WORK / "entries"
COMMENTS = WORK / "comments"
LINKS = WORK / "links"


def page(request, text, form=""):
    template = Template(
        "<!doctype html><title>site</title><p>{{ text }}</p>"
        "{% for message in messages %}<p>message: {{ message }}</p>{% endfor %}{{ form|safe }}"
    )
    return HttpResponse(template.render(RequestContext(request, {"text": text, "form": form})))


def form(request, action, *names):
    inputs = "".join(f"<input name={name}>" for name in names)
    token = f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
    return f"<form method=post action={action}>{token}{inputs}<button></form>"


def about(request):
    """Public, and reads a theme and the language: nothing in the answer says so of the theme."""
    theme = request.COOKIES.get("theme", "light")
    return HttpResponse(f"<!doctype html><title>about</title><p>About, {theme}, {get_language()}</p>" + "about " * 200)


def home(request):
    name = request.user.username or "stranger"
    return page(request, f"Hello, {name}")


@login_required
def account(request):
    return page(request, f"The account of {request.user.username}, {request.user.email}")


def sign_in(request):
    if request.method == "POST":
        user = authenticate(request, username=request.POST["name"], password=request.POST["password"])
        if user is None:
            return HttpResponse("no", status=403)
        login(request, user)
        messages.success(request, f"Welcome, {user.username}")
        return redirect("/account")
    return page(request, "Sign in", form(request, "/login", "name", "password"))


@require_POST
def sign_out(request):
    logout(request)
    return redirect("/")


def guestbook(request):
    if request.method == "POST":
        with ENTRIES.open("a") as entries:
            entries.write(request.POST["entry"] + "\n")
        messages.success(request, "Thank you for the entry")
        return redirect("/guestbook")
    entries = ENTRIES.read_text() if ENTRIES.exists() else ""
    return page(request, f"Guestbook: {entries}", form(request, "/guestbook", "entry"))


def board(request):
    """Shows what was posted to another address; without a session or a form."""
    comments = COMMENTS.read_text() if COMMENTS.exists() else ""
    return HttpResponse(f"<!doctype html><title>board</title><p>Board: {comments}</p>")


@require_POST
def comment(request):
    with COMMENTS.open("a") as comments:
        comments.write(request.POST["entry"] + "\n")
    return redirect("/board")


@require_POST
def theme(request):
    response = redirect("/about")
    response.set_cookie("theme", request.POST["value"])
    return response


def link(request, code):
    """Signs Alice in, once."""
    with COUNTS.open("a") as counts:
        counts.write(f"{code}\n")
    used = LINKS.read_text().split() if LINKS.exists() else []
    if code in used:
        return HttpResponse("used", status=410)
    with LINKS.open("a") as links:
        links.write(f"{code}\n")
    login(request, get_user_model().objects.get(username="alice"))
    return redirect("/account")


def enter(request):
    return link(request, request.GET["token"])


urlpatterns = [
    path("", home),
    path("about", about),
    path("account", account),
    path("login", sign_in),
    path("logout", sign_out),
    path("guestbook", guestbook),
    path("board", board),
    path("comment", comment),
    path("theme", theme),
    path("link/<str:code>", link),
    path("enter", enter),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
]

application = get_wsgi_application()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    for name in ["alice", "bob"]:
        get_user_model().objects.create_superuser(name, f"{name}-s3cr3t@site.test", f"{name}-password")
