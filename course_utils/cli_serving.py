"""The commands that publish: `course publish`, `course serve`, and what there is of services, applications and keys."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

service = typer.Typer(help="看服务、更新到新版本、退回。", rich_markup_mode=None)
app = typer.Typer(help="应用：调用服务的程序。", rich_markup_mode=None, no_args_is_help=True)
key = typer.Typer(help="密钥：建、看、吊销。", rich_markup_mode=None, no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="服务的名字")]


def publish(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="训练文件夹")],
    service: Annotated[str, typer.Option(metavar="NAME", help="服务的名字，没有就新建")],
) -> None:
    """把一次训练发布成服务的下一个版本。"""
    from course_utils.serving.publish import publish
    from course_utils.training.run import Run

    version = publish(Run(run), service)
    if version.number > 1:
        print(f"现在仍由当前版本回答。要换成这一版：course service update {service}")


def serve(
    port: Annotated[int | None, typer.Option(metavar="P", min=0, max=65535, help="端口，默认 8765")] = None,
    host: Annotated[str, typer.Option(help="默认只有这台电脑能访问；0.0.0.0 让别人也能访问")] = "127.0.0.1",
    engine: Annotated[str, typer.Option(help="local 或 vllm")] = "local",
    keep_text: Annotated[bool, typer.Option("--keep-text", help="用量日志里也记下问和答")] = False,
) -> None:
    """让别的程序能调用已发布的服务，直到按 Ctrl-C。"""
    from course_utils.serving.serve import PORT, serve

    serve(host, PORT if port is None else port, engine, keep_text)


@service.callback(invoke_without_command=True)
def list_services(context: typer.Context) -> None:
    """列出服务和版本。"""
    from course_utils.serving import services

    if context.invoked_subcommand:
        return
    for found in services.services():
        print(found.name)
        for version in found.versions:
            mark = "*" if version.number == found.current else " "
            print(
                f" {mark} 第 {version.number} 版  {version.run}  {datetime.fromtimestamp(version.created):%m-%d %H:%M}"
            )


@service.command()
def update(
    name: Name, to: Annotated[int | None, typer.Option(metavar="N", min=1, help="默认最新的版本")] = None
) -> None:
    """更新服务：换一个版本来回答。"""
    from course_utils.serving import services

    print(f"服务「{name}」现在是第 {services.update(name, to)} 版。")


@service.command()
def rollback(name: Name) -> None:
    """退回更新之前的版本。"""
    from course_utils.serving import services

    print(f"服务「{name}」退回到第 {services.rollback(name)} 版。")


@app.command("create")
def create_app(name: Annotated[str, typer.Argument(metavar="NAME", help="应用的名字")]) -> None:
    """登记一个应用。"""
    from course_utils.serving import keys

    print(f"应用「{keys.create_application(name).name}」建好了。")


@app.command("list")
def list_apps() -> None:
    """列出应用。"""
    from course_utils.serving import keys

    print(*(found.name for found in keys.applications()), sep="\n")


@key.command("create")
def create_key(
    app: Annotated[str, typer.Option(metavar="NAME", help="给哪个应用")],
    service: Annotated[list[str], typer.Option(metavar="NAME", help="能打开哪个服务；可以写几次")],
    days: Annotated[float | None, typer.Option(metavar="N", help="几天后过期；不写就不过期")] = None,
    per_minute: Annotated[int, typer.Option(metavar="N", min=1, help="每分钟最多几次请求")] = 120,
    prompt_limit: Annotated[int, typer.Option(metavar="N", min=1, help="提示最多多少 token")] = 1024,
    answer_limit: Annotated[int, typer.Option(metavar="N", min=1, help="答案最多多少 token")] = 512,
    at_once: Annotated[int, typer.Option(metavar="N", min=1, help="同时最多几个请求")] = 32,
) -> None:
    """建一个密钥；只打印密钥，也只打印这一次。"""
    from course_utils.serving import keys

    print(keys.create_key(app, service, days, per_minute, prompt_limit, answer_limit, at_once))


@key.command("list")
def list_keys() -> None:
    """列出密钥的号码、应用、能打开的服务和用量。"""
    from course_utils.serving import keys

    for found in keys.listed():
        opened = "、".join(found.services)
        print(
            f"{found.key.id:>4}  {found.key.hint}…  {found.state}  {found.application} → {opened}  "
            f"{found.requests} 次，{found.tokens} token"
        )


@key.command("revoke")
def revoke_key(
    which: Annotated[str, typer.Argument(metavar="N", help="密钥的号码（course key list），或者密钥本身")],
) -> None:
    """吊销一个密钥，立刻生效。"""
    from course_utils.serving import keys

    print(f"第 {keys.revoke(which).id} 号密钥吊销了。")
