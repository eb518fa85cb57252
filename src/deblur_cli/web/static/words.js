// All sentences of the page. For another language, add one to the table; what it lacks is said in English.
const WORDS = {
  en: {
    private: "Nothing leaves this computer.",
    add: "Add photos", addFolder: "Add a folder", saveAll: "Save all (ZIP)",
    drop: "Drop blurred photos here", choose: "Choose photos", orPaste: "or a folder, or paste a picture.", dropHere: "Let go to add them",
    before: "before", after: "after", fit: "Fit", zoom: "Zoom", compare: "Before and after",
    stage: "The photo. Plus and minus zoom, 0 fits, 1 is 100 %, 4 is 400 %, arrows move it.",
    panel: "This photo", photos: "Photos",
    strength: "Strength", weights: "Network", shake: "Camera shake", shakeAuto: "find and undo", shakeOff: "leave",
    format: "Format", own: "as it was",
    drawRegion: "Sharpen a part", sharpenRegion: "Sharpen this part", sharpenWhole: "Sharpen all of it", cancel: "Cancel",
    regionHelp: "Draw a rectangle on the photo.", regionKeys: "The part to sharpen. Arrows move it, with Shift they change its size.",
    save: "Save", again: "Sharpen again", stop: "Stop", remove: "Remove",
    reading: "Reading…", waiting: "Waiting for its turn", working: "Sharpening… {percent} %", done: "Sharp", failed: "Not sharpened", stopped: "Stopped",
    read: "Reading…", queued: "Waiting", share: "{percent} %", problem: "Failed",
    adding: "Adding photos: {done} of {all}", saving: "Saving…", saved: "Saved: {name}", finished: "{name}: sharpened", broken: "{name}: not sharpened",
    tooLarge: "{name} is larger than {size} GB, the most that the page takes.", noPhotos: "There are no photos in there.",
    ended: "The program has ended. Start it again with: deblur web",
    changed: "Edges gained {edges} % of contrast; the photo changed by {levels} of 255 levels.",
    barely: "Hardly anything changed: it may be sharp already, or blurred beyond help.",
    undone: "A camera shake of {length} pixels was undone.", undonePart: "A camera shake of {length} pixels was undone in {share} % of the photo.",
    left: "A camera shake was seen, and left: undoing it promised no gain.", none: "No camera shake was seen.",
    part: "Only the part that you drew was sharpened.", kernel: "The path of the camera",
  },
  de: {
    private: "Nichts verlässt diesen Computer.",
    add: "Fotos hinzufügen", addFolder: "Ordner hinzufügen", saveAll: "Alle sichern (ZIP)",
    drop: "Unscharfe Fotos hier ablegen", choose: "Fotos auswählen", orPaste: "oder einen Ordner, oder ein Bild einfügen.", dropHere: "Loslassen zum Hinzufügen",
    before: "vorher", after: "nachher", fit: "Ganz", zoom: "Vergrößerung", compare: "Vorher und nachher",
    stage: "Das Foto. Plus und Minus vergrößern und verkleinern, 0 zeigt es ganz, 1 ist 100 %, 4 ist 400 %, Pfeile verschieben es.",
    panel: "Dieses Foto", photos: "Fotos",
    strength: "Stärke", weights: "Netz", shake: "Verwacklung", shakeAuto: "suchen und aufheben", shakeOff: "lassen",
    format: "Format", own: "wie es war",
    drawRegion: "Nur einen Teil schärfen", sharpenRegion: "Diesen Teil schärfen", sharpenWhole: "Das ganze schärfen", cancel: "Abbrechen",
    regionHelp: "Ziehen Sie ein Rechteck auf dem Foto auf.", regionKeys: "Der Teil, der geschärft wird. Pfeile verschieben ihn, mit Umschalt ändern sie die Größe.",
    save: "Sichern", again: "Noch einmal schärfen", stop: "Anhalten", remove: "Entfernen",
    reading: "Wird gelesen …", waiting: "Wartet, bis es an der Reihe ist", working: "Wird geschärft … {percent} %", done: "Scharf", failed: "Nicht geschärft", stopped: "Angehalten",
    read: "Liest …", queued: "Wartet", share: "{percent} %", problem: "Fehler",
    adding: "Fotos werden hinzugefügt: {done} von {all}", saving: "Wird gesichert …", saved: "Gesichert: {name}", finished: "{name}: geschärft", broken: "{name}: nicht geschärft",
    tooLarge: "{name} ist größer als {size} GB; mehr nimmt die Seite nicht.", noPhotos: "Darin sind keine Fotos.",
    ended: "Das Programm ist beendet. Starten Sie es neu mit: deblur web",
    changed: "Kanten haben {edges} % an Kontrast gewonnen; das Foto hat sich um {levels} von 255 Stufen geändert.",
    barely: "Es hat sich kaum etwas geändert: Vielleicht ist es schon scharf, oder zu unscharf.",
    undone: "Eine Verwacklung von {length} Pixeln wurde aufgehoben.", undonePart: "Eine Verwacklung von {length} Pixeln wurde in {share} % des Fotos aufgehoben.",
    left: "Eine Verwacklung wurde gesehen und gelassen: Sie aufzuheben versprach keinen Gewinn.", none: "Es wurde keine Verwacklung gesehen.",
    part: "Nur der Teil, den Sie gezeichnet haben, wurde geschärft.", kernel: "Der Weg der Kamera",
  },
  zh: {
    private: "照片不会离开这台电脑。",
    add: "添加照片", addFolder: "添加文件夹", saveAll: "全部保存 (ZIP)",
    drop: "把模糊的照片拖到这里", choose: "选择照片", orPaste: "也可以拖入文件夹，或粘贴图片。", dropHere: "松开即可添加",
    before: "处理前", after: "处理后", fit: "适合窗口", zoom: "缩放", compare: "处理前与处理后",
    stage: "照片。加号和减号缩放，0 适合窗口，1 为 100 %，4 为 400 %，方向键移动。",
    panel: "这张照片", photos: "照片",
    strength: "强度", weights: "网络", shake: "相机抖动", shakeAuto: "查找并消除", shakeOff: "保留",
    format: "格式", own: "与原来相同",
    drawRegion: "只锐化一部分", sharpenRegion: "锐化这一部分", sharpenWhole: "锐化整张照片", cancel: "取消",
    regionHelp: "在照片上画一个矩形。", regionKeys: "要锐化的部分。方向键移动，按住 Shift 改变大小。",
    save: "保存", again: "重新锐化", stop: "停止", remove: "移除",
    reading: "正在读取…", waiting: "正在排队", working: "正在锐化… {percent} %", done: "已锐化", failed: "未能锐化", stopped: "已停止",
    read: "读取中…", queued: "排队中", share: "{percent} %", problem: "未能锐化",
    adding: "正在添加照片：{done} / {all}", saving: "正在保存…", saved: "已保存：{name}", finished: "{name}：已锐化", broken: "{name}：未能锐化",
    tooLarge: "{name} 大于 {size} GB，超过了本页面的上限。", noPhotos: "里面没有照片。",
    ended: "程序已结束。请重新运行：deblur web",
    changed: "边缘对比度提高了 {edges} %；照片平均改变了 {levels} 级（共 255 级）。",
    barely: "几乎没有变化：照片可能已经清晰，或者过于模糊。",
    undone: "已消除 {length} 像素的相机抖动。", undonePart: "已在照片的 {share} % 中消除 {length} 像素的相机抖动。",
    left: "发现了相机抖动，但没有消除：预计不会有改善。", none: "没有发现相机抖动。",
    part: "只锐化了您画出的部分。", kernel: "相机移动的轨迹",
  },
};

// Why a photo fails, as the program says it in English, error and hint -> the same in another language. What is not here is shown as it is.
const REASONS = [
  [/^the file is empty\n/, { de: "Die Datei ist leer.", zh: "文件是空的。" }],
  [/^not a photo of a format that we know\n/, { de: "Das ist kein Foto in einem Format, das deblur kennt.", zh: "这不是 deblur 能识别的照片格式。" }],
  [/^the (?<format>.+) file is (?:cut short|damaged)/, { de: "Die {format}-Datei ist beschädigt oder unvollständig.", zh: "{format} 文件已损坏或不完整。" }],
  [/^(?<format>.+) needs a library that is not installed\n.*(?<line>pip install .+)/, { de: "Für {format} fehlt noch ein Paket. So kommt es dazu: {line}", zh: "读取 {format} 还缺少一个软件包。安装方法：{line}" }],
  [/^\S+ is (?<size>\S+) megapixels, above the limit of (?<limit>\S+)\n/, { de: "Das Foto hat {size} Megapixel; mehr als {limit} nimmt die Seite nicht. Wenn Sie der Datei trauen, starten Sie das Programm mit: deblur web --max-megapixels N", zh: "照片有 {size} 百万像素，超过了 {limit} 的上限。如果您信任该文件，请这样启动程序：deblur web --max-megapixels N" }],
  [/^not enough memory|was killed \(SIGKILL\)/, { de: "Der Speicher hat nicht gereicht. Schließen Sie andere Programme, oder schärfen Sie nur einen Teil.", zh: "内存不足。请关闭其他程序，或只锐化一部分。" }],
  [/^the process that /, { de: "Eine Programmbibliothek ist an diesem Foto gescheitert. Mit einem anderen Programm neu gesichert, geht es vielleicht.", zh: "处理这张照片时程序库崩溃了。用其他程序重新保存后，也许可以。" }],
  [/the disk is full\n/, { de: "Die Festplatte ist voll. Schaffen Sie Platz, oder entfernen Sie Fotos von der Seite.", zh: "磁盘已满。请腾出空间，或从本页移除照片。" }],
];

const language = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => WORDS[tag]) ?? "en";

/** The sentence of this name in the reader's language, {things} filled in. */
export const say = (name, things = {}) => filledIn(WORDS[language][name] ?? WORDS.en[name], things);

/** What the program says of a failure, in the reader's language; null if that is not known. */
export function translated(error, hint) {
  for (const [pattern, sentences] of REASONS) {
    const found = `${error}\n${hint}`.match(pattern);
    if (found && sentences[language]) return filledIn(sentences[language], found.groups ?? {});
  }
  return null;
}

const filledIn = (sentence, things) => sentence.replace(/\{(\w+)\}/g, (_, thing) => things[thing]);

/** Fill in all sentences that the page itself holds. */
export function fillIn() {
  document.documentElement.lang = { zh: "zh-Hans" }[language] ?? language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = say(element.dataset.label);
  for (const element of document.querySelectorAll("[data-alt]")) element.alt = say(element.dataset.alt);
}
